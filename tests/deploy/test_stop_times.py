"""What stops a process waits longer than the process itself does, with time to spare."""

from __future__ import annotations

import re

import pytest

from scheduled_tasks.conf import AppSettings
from scheduled_tasks.executors.process.executor import STOPPING_GRACE_SECONDS
from scheduled_tasks.executors.process.fork_server.client import STOP_TIMEOUT_SECONDS
from scheduled_tasks.worker import listener, liveness_file, pruning
from scheduled_tasks.worker.monitor import CLOSING_SECONDS
from scheduled_tasks.worker.scheduler import MAX_ABANDON_SECONDS
from tests.deploy.files import COMPOSE, FOLDER, GUNICORN, commands, pods, procfile, seconds, unit

DEFAULTS = AppSettings()
#: Seconds that a worker takes at most after SHUTDOWN_TIMEOUT, whatever hangs.
CLOSING = sum(
    (
        DEFAULTS.POLL_INTERVAL,
        MAX_ABANDON_SECONDS,
        DEFAULTS.HEARTBEAT_INTERVAL,
        listener.MAX_STOP_SECONDS,
        pruning.MAX_STOP_SECONDS,
        STOP_TIMEOUT_SECONDS,
        CLOSING_SECONDS,
        liveness_file.MAX_REMOVAL_SECONDS,
    )
)
#: The same if it is only receivers and runs that hang.
USUAL_CLOSING = DEFAULTS.POLL_INTERVAL + STOPPING_GRACE_SECONDS + CLOSING_SECONDS
#: Seconds that gunicorn takes after its graceful_timeout.
WEB_CLOSING = 10
#: Heroku kills after so many seconds.
HEROKU_SECONDS = 30
NEEDED = {
    "scheduler": DEFAULTS.SHUTDOWN_TIMEOUT + CLOSING,
    "web": GUNICORN["graceful_timeout"] + WEB_CLOSING,
}
UNIT_OF = {"scheduler": "shop-scheduler@.service", "web": "shop-web.service"}


def option(line: str, name: str) -> int:
    [value] = re.findall(rf"{name} (\d+)", line)
    return int(value)


def settings_of(role: str) -> dict[str, str]:
    return dict(unit(FOLDER / "systemd" / UNIT_OF[role]))


@pytest.mark.parametrize("role", NEEDED)
def test_systemd_waits_long_enough(role: str) -> None:
    found = settings_of(role)
    assert seconds(found["TimeoutStopSec"]) >= NEEDED[role]
    assert found["KillMode"] == "mixed"
    assert found["Restart"] == "always"


@pytest.mark.parametrize("role", NEEDED)
def test_compose_waits_long_enough(role: str) -> None:
    assert seconds(COMPOSE[role]["stop_grace_period"]) >= NEEDED[role]
    assert COMPOSE[role]["restart"] == "always"


@pytest.mark.parametrize("role", NEEDED)
def test_kubernetes_waits_long_enough(role: str) -> None:
    pod = pods()[f"shop-{role}"]
    [only] = pod["containers"]
    hook = only.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
    needed = NEEDED[role] + seconds(hook[1])
    assert pod["terminationGracePeriodSeconds"] >= needed


def test_procfiles_stop_before_heroku_kills() -> None:
    lines = procfile()
    assert option(lines["scheduler"], "--shutdown-timeout") + USUAL_CLOSING <= HEROKU_SECONDS
    assert option(lines["web"], "--graceful-timeout") + WEB_CLOSING <= HEROKU_SECONDS


@pytest.mark.parametrize("where", ["compose scheduler", "kubernetes shop-scheduler"])
def test_no_manifest_changes_the_shutdown_timeout(where: str) -> None:
    """The times above are compared with the default."""
    assert not any(word.startswith("--shutdown-timeout") for word in dict(commands())[where])


def test_the_page_says_what_closing_takes() -> None:
    page = (FOLDER.parent / "docs/deployment.md").read_text()
    assert f"which is {CLOSING:g} s with the default settings" in page
    assert f"closing takes up to {USUAL_CLOSING:g} s" in page
