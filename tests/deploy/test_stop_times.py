"""What stops a process waits longer than the process itself does, with time to spare."""

from __future__ import annotations

import re

import pytest

from scheduled_tasks.conf import AppSettings
from tests.deploy.files import COMPOSE, FOLDER, GUNICORN, commands, pods, procfile, seconds, unit

#: Seconds that a worker takes after SHUTDOWN_TIMEOUT at most, to end its runs and give them back.
SPARE_SECONDS = 10
#: Heroku kills after so many seconds.
HEROKU_SECONDS = 30
SHUTDOWN_TIMEOUT = AppSettings().SHUTDOWN_TIMEOUT
GRACEFUL_TIMEOUT = GUNICORN["graceful_timeout"]
WAITS = {
    "scheduler": SHUTDOWN_TIMEOUT,
    "web": GRACEFUL_TIMEOUT,
}
UNIT_OF = {"scheduler": "shop-scheduler@.service", "web": "shop-web.service"}


def option(line: str, name: str) -> int:
    [value] = re.findall(rf"{name} (\d+)", line)
    return int(value)


def settings_of(role: str) -> dict[str, str]:
    return dict(unit(FOLDER / "systemd" / UNIT_OF[role]))


@pytest.mark.parametrize("role", WAITS)
def test_systemd_waits_long_enough(role: str) -> None:
    found = settings_of(role)
    assert seconds(found["TimeoutStopSec"]) >= WAITS[role] + SPARE_SECONDS
    assert found["KillMode"] == "mixed"
    assert found["Restart"] == "always"


@pytest.mark.parametrize("role", WAITS)
def test_compose_waits_long_enough(role: str) -> None:
    assert seconds(COMPOSE[role]["stop_grace_period"]) >= WAITS[role] + SPARE_SECONDS
    assert COMPOSE[role]["restart"] == "always"


@pytest.mark.parametrize("role", WAITS)
def test_kubernetes_waits_long_enough(role: str) -> None:
    pod = pods()[f"shop-{role}"]
    [only] = pod["containers"]
    hook = only.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
    needed = WAITS[role] + seconds(hook[1]) + SPARE_SECONDS
    assert pod["terminationGracePeriodSeconds"] >= needed


def test_procfiles_stop_before_heroku_kills() -> None:
    lines = procfile()
    assert option(lines["scheduler"], "--shutdown-timeout") + SPARE_SECONDS <= HEROKU_SECONDS
    assert option(lines["web"], "--graceful-timeout") + SPARE_SECONDS <= HEROKU_SECONDS


@pytest.mark.parametrize("where", ["compose scheduler", "kubernetes shop-scheduler"])
def test_no_manifest_changes_the_shutdown_timeout(where: str) -> None:
    """The times above are compared with the default."""
    assert not any(word.startswith("--shutdown-timeout") for word in dict(commands())[where])
