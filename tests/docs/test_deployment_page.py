"""What docs/deployment.md says of the files in deploy/: all of them, their commands and numbers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from scheduled_tasks.conf import AppSettings
from tests.deploy.files import COMPOSE, FOLDER, GUNICORN, container, pods, unit

PAGE = (Path(__file__).parents[2] / "docs/deployment.md").read_text()
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
BLOCK = re.compile(r"```.*?```", re.DOTALL)
CODE = [
    *CONSOLE.findall(PAGE),
    *(code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", BLOCK.sub("", PAGE))),
]
#: Of the table of numbers: what a row is about, and the cells after it.
ROWS = re.findall(r"^\| (.+?) \| (.*?) \| (.*?) \| .*? \|$", PAGE, re.MULTILINE)


def commands() -> Iterator[list[str]]:
    """Yield each management command of our own that the page shows, with its options."""
    for code in CODE:
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line.partition("#")[0]) if "=…" not in line else []
            start = words.index("manage.py") + 1 if "manage.py" in words else 0
            if words[start:] and words[start] in get_commands():
                yield words[start:]


COMMANDS = sorted(set(map(tuple, commands())))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_options_of_each_command_exist(command: tuple[str, ...]) -> None:
    name, *options = command
    found = load_command_class(get_commands()[name], name)
    assert found.create_parser("manage.py", name).parse_args(options)


def test_the_page_shows_commands() -> None:
    assert {name for name, *_ in COMMANDS} >= {"migrate", "runscheduler"}


def test_every_file_is_linked() -> None:
    linked = set(re.findall(r"\]\(\.\./(deploy/[^)]+)\)", PAGE))
    files = {
        path for path in FOLDER.rglob("*") if path.is_file() and "__pycache__" not in str(path)
    }
    assert linked == {str(path.relative_to(FOLDER.parent)) for path in files}


def cells(about: str) -> tuple[str, str]:
    """Return what the table of numbers says of a row: in the files, and what it has to be."""
    [(_, files, needed)] = [row for row in ROWS if about in row[0]]
    return files, needed


def test_stop_times_of_workers_are_those_shown() -> None:
    files, needed = cells("of a worker")
    found = dict(unit(FOLDER / "systemd/shop-scheduler@.service"))["TimeoutStopSec"]
    pod = pods()["shop-scheduler"]
    assert files == f"{found} s" == f"{pod['terminationGracePeriodSeconds']} s"
    assert COMPOSE["scheduler"]["stop_grace_period"] == f"{found}s"
    assert f"({AppSettings().SHUTDOWN_TIMEOUT:g} s)" in needed


def test_stop_times_of_web_servers_are_those_shown() -> None:
    files, needed = cells("the same of a web server")
    found = dict(unit(FOLDER / "systemd/shop-web.service"))["TimeoutStopSec"]
    grace = pods()["shop-web"]["terminationGracePeriodSeconds"]
    assert files == f"{found} s, in Kubernetes {grace} s"
    assert COMPOSE["web"]["stop_grace_period"] == f"{found}s"
    assert f"`graceful_timeout` ({GUNICORN['graceful_timeout']} s)" in needed
    _, seconds = container("shop-web")["lifecycle"]["preStop"]["exec"]["command"]
    assert f"hook ({seconds} s)" in needed


def test_limits_of_containers_are_those_shown() -> None:
    limits = COMPOSE["scheduler"]["deploy"]["resources"]["limits"]
    found = dict(unit(FOLDER / "systemd/shop-scheduler@.service"))
    assert cells("the memory limit of a container")[0] == "1 GiB"
    assert limits["memory"] == found["MemoryMax"] == "1G"
    assert container("shop-scheduler")["resources"]["limits"]["memory"] == "1Gi"
    assert cells("the limit of processes")[0] == found["TasksMax"] == str(limits["pids"])


def test_replicas_and_lease_are_those_shown() -> None:
    assert cells("replicas of workers")[0] == str(COMPOSE["scheduler"]["deploy"]["replicas"])
    assert cells("`LEASE`")[0] == f"{AppSettings().LEASE:g} s"


def test_recycling_is_as_shown() -> None:
    seconds = cells("`--max-age`")[0].removesuffix(" s")
    assert f"--max-age {seconds}" in " ".join(COMPOSE["scheduler"]["command"])
    assert f"--max-age={seconds}" in container("shop-scheduler")["args"]
    start = dict(unit(FOLDER / "systemd/shop-scheduler@.service"))["ExecStart"]
    assert start.endswith(f"--max-age {seconds}")
