"""The system checks: one for each id, and what each says to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import override_settings

from scheduled_tasks import declare, scheduled_task
from scheduled_tasks.checks import all_checks, check_sqlite
from scheduled_tasks.registry import HandlerRegistry
from tests.processes import ROOT


def found(**settings: Any) -> list[CheckMessage]:
    """Return what the checks of this app say under some settings; all of it has a hint."""
    with override_settings(**settings):
        messages = [message for check in all_checks for message in check()]
    for message in messages:
        assert message.hint
        assert str(message.id).startswith("scheduled_tasks.")
    return messages


def ids(**settings: Any) -> list[str]:
    return [str(message.id).rpartition(".")[2] for message in found(**settings)]


def test_a_project_without_a_mistake_passes() -> None:
    assert run_checks(tags=["scheduled_tasks"]) == []


def test_e001_settings_that_do_not_exist() -> None:
    [message] = found(SCHEDULED_TASKS={"CONCURENCY": 5})
    assert message.id == "scheduled_tasks.E001"
    assert "did you mean 'CONCURRENCY'" in message.msg
    assert ids(SCHEDULED_TASKS={"LEASE": 0}) == ["E001"]


def test_e001_is_said_by_every_command_instead_of_a_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "TEST_OPTIONS": json.dumps({"CONCURENCY": 5}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "scheduled_tasks.E001" in done.stderr
    assert "Traceback" not in done.stderr


def test_e002_local_times_in_the_database() -> None:
    [message] = found(USE_TZ=False)
    assert message.id == "scheduled_tasks.E002"
    assert "Set USE_TZ = True" in str(message.hint)


@pytest.mark.parametrize("command", ["runscheduler", "runtask", "synctasks", "listtasks"])
def test_e002_stops_every_command(command: str) -> None:
    arguments = ["anything"] if command == "runtask" else []
    with override_settings(USE_TZ=False), pytest.raises(SystemCheckError, match="E002"):
        call_command(command, *arguments, skip_checks=False)


def test_e003_two_handlers_of_one_key(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def one() -> None: ...

    @scheduled_task(name="shop.cleanup")
    def other() -> None: ...

    [message] = found()
    assert message.id == "scheduled_tasks.E003"
    assert "test_checks" in message.msg


def test_e004_a_handler_that_cannot_be_called_with_a_payload(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(*things: int) -> None: ...

    @scheduled_task(name="shop.fine")
    def fine(*, days: int = 3) -> None: ...

    [message] = found()
    assert (message.id, message.obj) == ("scheduled_tasks.E004", "shop.cleanup")


def test_e005_a_declaration_for_no_handler(registry: HandlerRegistry) -> None:
    def undecorated() -> None: ...

    declare("shop.clenup", name="a")
    assert ids() == ["E005"]
    with registry.isolated():
        declare(undecorated, name="a")
        assert ids() == ["E005"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"payload": {"dys": 3}}, "payload"),
        ({"payload": [1]}, "payload"),
        ({"payload": None}, "payload"),
        ({"payload": {"days": float("nan")}}, "payload"),
        ({"queue": ""}, "queue"),
        ({"queue": "q" * 101}, "queue"),
        ({"category": "c" * 101}, "category"),
        ({"priority": "high"}, "priority"),
        ({"on_lost": "panic"}, "on_lost"),
        ({"max_losses": -1}, "max_losses"),
    ],
)
def test_e006_a_declaration_that_cannot_be_saved(
    registry: HandlerRegistry, options: dict[str, Any], field: str
) -> None:
    @scheduled_task("0 2 * * *", name="shop.cleanup", **options)
    def cleanup(*, days: int = 30) -> None: ...

    messages = found()
    assert {message.id for message in messages} == {"scheduled_tasks.E006"}
    assert f"has a {field} that" in messages[0].msg
    assert "shop.cleanup" in messages[0].msg


@pytest.mark.parametrize("name", ["Has Spaces", "ÜBER", "-x", "x" * 101, "a/b", "a\0", "UPPER"])
def test_e006_a_name_that_no_task_can_have(registry: HandlerRegistry, name: str) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None: ...

    declare(cleanup, name=name)
    messages = found()
    assert {message.id for message in messages} == {"scheduled_tasks.E006"}
    assert "has a name that" in messages[0].msg


def test_e006_a_schedule_without_the_arguments_that_a_run_needs(
    registry: HandlerRegistry,
) -> None:
    @scheduled_task("0 2 * * *", name="shop.export")
    def export(*, customer: str) -> None: ...

    assert ids() == ["E006"]


def test_a_task_only_run_by_hand_may_wait_for_its_arguments(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.export")
    def export(*, customer: str) -> None: ...

    assert ids() == []


def test_e007_two_tasks_of_one_name(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None: ...

    declare(cleanup, "0 1 * * *", name="twice")
    declare(cleanup, "0 2 * * *", name="twice")
    [message] = found()
    assert message.id == "scheduled_tasks.E007"
    assert "'twice'" in message.msg


@pytest.mark.parametrize("path", ["nowhere.Executor", "", "os", "os.path.join", "os.PathLike"])
def test_e008_an_executor_that_is_none(path: str) -> None:
    [message] = found(SCHEDULED_TASKS={"EXECUTOR": path})
    assert message.id == "scheduled_tasks.E008"


def test_w001_sqlite_that_lets_writers_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    if connection.vendor != "sqlite":
        assert check_sqlite() == []
        return
    good = connection.settings_dict["OPTIONS"]
    for options in ({}, {**good, "transaction_mode": None}, {**good, "init_command": ""}):
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
        [message] = check_sqlite()
        assert message.id == "scheduled_tasks.W001"
        assert "journal_mode=WAL" in str(message.hint)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", good)
    assert check_sqlite() == []
