"""The commands in deploy/ exist, with these options, and meet at the same paths."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from tests.deploy.files import COMPOSE, commands, container, probes

COMMANDS = dict(commands())
MANAGE = {where: command for where, command in COMMANDS.items() if "manage.py" in command}
MODULES = {where: command for where, command in COMMANDS.items() if "-m" in command}
GUNICORN = {where: command for where, command in COMMANDS.items() if "gunicorn" in command[0]}
OTHERS = set(COMMANDS) - set(MANAGE) - set(MODULES) - set(GUNICORN)
LIVENESS_FILE = "/dev/shm/scheduler-alive"


@pytest.mark.parametrize("where", MANAGE)
def test_each_management_command_takes_its_options(where: str) -> None:
    python, manage, name, *options = MANAGE[where]
    assert (Path(python).name, manage) == ("python", "manage.py")
    command = load_command_class(get_commands()[name], name)
    assert command.create_parser(manage, name).parse_args(options)


@pytest.mark.parametrize("where", MODULES)
def test_each_module_to_run_exists(where: str) -> None:
    python, option, module, *_ = MODULES[where]
    assert (python, option) == ("python", "-m")
    assert find_spec(module)


@pytest.mark.parametrize("where", GUNICORN)
def test_gunicorn_gets_an_application_that_exists(where: str) -> None:
    assert "example_project.wsgi" in GUNICORN[where]
    assert callable(import_module("example_project.wsgi").application)


def test_nothing_else_is_run_but_a_request() -> None:
    [where] = OTHERS
    assert where == "compose web healthcheck"
    python, option, code = COMMANDS[where]
    assert (python, option) == ("python", "-c")
    assert compile(code, where, "exec")


@pytest.mark.parametrize("where", ["compose scheduler", "kubernetes shop-scheduler"])
def test_the_probe_reads_what_the_worker_writes(where: str) -> None:
    parser = load_command_class("scheduled_tasks", "runscheduler").create_parser("manage.py", "")
    written = vars(parser.parse_args(COMMANDS[where][3:]))["liveness_file"]
    assert str(written) == LIVENESS_FILE
    probing = [command[3:] for place, command in MODULES.items() if place.startswith(where)]
    assert probing
    assert all(paths == [LIVENESS_FILE] for paths in probing)


def test_only_readiness_asks_the_database() -> None:
    """An outage of the database must restart no worker."""
    found = probes("shop-scheduler")
    assert set(found) == {"startupProbe", "livenessProbe", "readinessProbe"}
    assert {kind for kind, command in found.items() if "manage.py" in command} == {"readinessProbe"}
    assert "manage.py" not in COMPOSE["scheduler"]["healthcheck"]["test"]


def test_the_image_keeps_its_init_process() -> None:
    """``command:`` of Kubernetes would replace the entry point, and so tini."""
    assert "command" not in container("shop-scheduler")
    assert "entrypoint" not in COMPOSE["scheduler"]
