"""The system checks: one for each id, and what each says to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.test import override_settings

from scheduled_tasks import declare, scheduled_task
from scheduled_tasks.checks import (
    check_limits,
    check_limits_in_database,
    check_sqlite,
    database_checks,
    static_checks,
)
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.definitions import register_task
from scheduled_tasks.operations.sync import sync
from tests.support.functions import function_of
from tests.support.processes import ROOT
from tests.support.registries import isolated


class Unfinished(Executor):
    """An executor without what begins a run."""


def found(**settings: Any) -> list[CheckMessage]:
    """Return what the checks of this app say under some settings; all of it has a hint."""
    with override_settings(**settings):
        messages = [message for check in (*static_checks, *database_checks) for message in check()]
    for message in messages:
        assert message.hint
        assert str(message.id).startswith("scheduled_tasks.")
    return messages


def ids(**settings: Any) -> list[str]:
    return [str(message.id).rpartition(".")[2] for message in found(**settings)]


@pytest.mark.django_db  # Django 6.1 asks the database whether it supports JSON
def test_a_project_without_a_mistake_passes() -> None:
    assert run_checks(tags=["scheduled_tasks"]) == []


def test_e001_settings_that_do_not_exist() -> None:
    [message] = found(SCHEDULED_TASKS={"CONCURENCY": 5})
    assert message.id == "scheduled_tasks.E001"
    assert "did you mean 'CONCURRENCY'" in message.msg
    assert ids(SCHEDULED_TASKS={"LEASE": 0}) == ["E001"]


def test_e001_is_an_error_not_a_traceback() -> None:
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


@pytest.mark.django_db
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


def test_e004_a_handler_not_callable_with_a_payload(registry: HandlerRegistry) -> None:
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
    with isolated(registry):
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
        ({"timeout": 0}, "timeout"),
        ({"timeout": timedelta(0)}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"memory_limit_mb": 0}, "memory_limit_mb"),
        ({"executor": "celery"}, "executor"),
        ({"executor": "scheduled_tasks.executors.thread.ThreadExecutor"}, "executor"),
    ],
)
def test_e006_a_declaration_that_cannot_be_saved(
    registry: HandlerRegistry, options: dict[str, Any], field: str
) -> None:
    @scheduled_task("0 2 * * *", name="shop.cleanup", **options)
    def cleanup(*, days: int = 30) -> None: ...

    messages = found()
    assert {message.id for message in messages} == {"scheduled_tasks.E006"}
    assert len(messages) == 1
    assert f"cannot be saved because of its {field}: " in messages[0].msg
    assert "shop.cleanup" in messages[0].msg


@pytest.mark.parametrize("name", ["Has Spaces", "ÜBER", "-x", "x" * 101, "a/b", "a\0", "UPPER"])
def test_e006_a_name_that_no_task_can_have(registry: HandlerRegistry, name: str) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None: ...

    declare(cleanup, name=name)
    messages = found()
    assert {message.id for message in messages} == {"scheduled_tasks.E006"}
    assert "because of its name: " in messages[0].msg


def test_e006_a_schedule_without_required_arguments(
    registry: HandlerRegistry,
) -> None:
    @scheduled_task("0 2 * * *", name="shop.export")
    def export(*, customer: str) -> None: ...

    assert ids() == ["E006"]


def test_a_manual_task_may_lack_required_arguments(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.export")
    def export(*, customer: str) -> None: ...

    assert ids() == []


def test_e003_two_functions_of_one_name(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("shop.doubled")
    module.__spec__ = ModuleSpec("shop.doubled", None)
    monkeypatch.setitem(sys.modules, "shop.doubled", module)
    code = (
        "from scheduled_tasks import scheduled_task\n"
        "@scheduled_task('@daily')\ndef cleanup(): ...\n"
        "@scheduled_task('@hourly')\ndef cleanup(): ...\n"
    )
    exec(code, vars(module))
    [message] = found()
    assert message.id == "scheduled_tasks.E003"
    assert "shop.doubled.cleanup (line 4) and shop.doubled.cleanup (line 2)" in message.msg


def test_a_reload_defines_functions_again(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("shop.reloaded")
    monkeypatch.setitem(sys.modules, "shop.reloaded", module)
    for schedule in ("@daily", "@hourly"):
        module.__spec__ = ModuleSpec("shop.reloaded", None)  # as importlib.reload() does
        code = f"@scheduled_task({schedule!r})\ndef cleanup(): ...\n"
        exec(f"from scheduled_tasks import scheduled_task\n{code}", vars(module))
    assert found() == []
    assert [item.schedule for item in registry.declarations] == ["@hourly"]


def test_e007_two_tasks_of_one_name(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup() -> None: ...

    declare(cleanup, "0 1 * * *", name="twice")
    declare(cleanup, "0 2 * * *", name="twice")
    [message] = found()
    assert message.id == "scheduled_tasks.E007"
    assert "'twice'" in message.msg


def test_e007_a_name_that_a_decorated_function_gets(registry: HandlerRegistry) -> None:
    @scheduled_task("@daily", name=None)
    def cleanup() -> None: ...

    declare(cleanup, "0 1 * * *", name="cleanup")
    [message] = found()
    assert message.id == "scheduled_tasks.E007"
    assert "'cleanup', which is that of the task that @scheduled_task declares" in message.msg


def test_e008_an_executor_that_cannot_begin() -> None:
    [message] = found(SCHEDULED_TASKS={"EXECUTOR": f"{__name__}.Unfinished"})
    assert message.id == "scheduled_tasks.E008"
    assert "Unfinished lacks begin" in message.msg


@pytest.mark.parametrize("address", ["foo", "postgres://u:hunter2@[::1/db", "host=a bad"])
def test_e001_an_address_that_is_none(address: str) -> None:
    [message] = found(SCHEDULED_TASKS={"LISTEN_DSN": address})
    assert (message.id, "LISTEN_DSN" in message.msg) == ("scheduled_tasks.E001", True)
    assert "hunter2" not in message.msg


def test_e010_a_refused_declaration_is_one_sentence(tmp_path: Path) -> None:
    """No command ends in a traceback, and nothing is parked for it."""
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger/__init__.py").touch()
    (tmp_path / "ledger/tasks.py").write_text(
        "from scheduled_tasks import scheduled_task\n\n\n"
        "@scheduled_task('0 25 * * *')\ndef close(): ...\n"
    )
    (tmp_path / "ledger_settings.py").write_text(
        "from tests.settings import *\n"
        "INSTALLED_APPS = [*INSTALLED_APPS, 'ledger']\nSCHEDULED_TASKS = {}\n"
        f"DATABASES['default']['NAME'] = {str(tmp_path / 'db.sqlite3')!r}\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "ledger_settings",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "PYTHONPATH": str(tmp_path),
    }
    for command in ("migrate", "runscheduler", "synctasks"):
        done = subprocess.run(
            [sys.executable, "manage.py", command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "ledger/tasks.py, line 4: " in done.stderr
        assert "25" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("path", ["nowhere.Executor", "", "os", "os.path.join", "os.PathLike"])
def test_e008_an_executor_that_is_none(path: str) -> None:
    [message] = found(SCHEDULED_TASKS={"EXECUTOR": path})
    assert message.id == "scheduled_tasks.E008"
    assert f"{path!r} is not an executor" in message.msg


@pytest.mark.parametrize(
    "name", ["process", "thread", "scheduled_tasks.executors.inline.InlineExecutor"]
)
def test_an_executor_is_a_name_or_a_path(name: str) -> None:
    assert "E008" not in ids(SCHEDULED_TASKS={"EXECUTOR": name})


def test_e009_processes_where_none_can_be_forked(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "fork")
    [message] = found(SCHEDULED_TASKS={"EXECUTOR": "process"})
    assert message.id == "scheduled_tasks.E009"
    assert "'thread'" in str(message.hint)
    assert ids(SCHEDULED_TASKS={"EXECUTOR": "thread"}) == []
    scheduled_task(name="shop.cleanup", executor="process")(function_of("shop.tasks"))
    assert ids(SCHEDULED_TASKS={"EXECUTOR": "thread"}) == ["E009"]


LIMITS = {"timeout": 60, "memory_limit_mb": 100}
SAID = [
    "has a timeout, but the executor 'thread' can only ask it to stop, not kill it.",
    "has a memory limit, which the executor 'thread' does not enforce.",
]


@pytest.mark.parametrize(
    ("setting", "own", "said"),
    [
        ("process", "", []),
        ("process", "process", []),
        ("thread", "process", []),
        ("thread", "", SAID),
        ("process", "thread", SAID),
        ("nowhere.Executor", "thread", SAID),
    ],
)
def test_w002_limits_a_declared_tasks_executor_cannot_enforce(
    registry: HandlerRegistry, setting: str, own: str, said: list[str]
) -> None:
    scheduled_task(name="shop.cleanup", executor=own, **LIMITS)(function_of("shop.tasks"))
    messages = [
        message
        for message in found(SCHEDULED_TASKS={"EXECUTOR": setting})
        if message.id == "scheduled_tasks.W002"
    ]
    assert [message.msg for message in messages] == [
        f"The task declared for shop.cleanup {sentence}" for sentence in said
    ]


def test_w002_says_nothing_of_tasks_without_limits(registry: HandlerRegistry) -> None:
    scheduled_task(name="shop.cleanup", executor="thread")(function_of("shop.tasks"))
    scheduled_task(name="shop.gone", executor="celery", **LIMITS)(function_of("shop.tasks", "gone"))
    assert ids(SCHEDULED_TASKS={"EXECUTOR": "thread"}) == ["E006"]


def limits_in_the_database() -> list[str]:
    found = [*check_limits(), *check_limits_in_database(databases=["default"])]
    return [message.msg for message in found]


@pytest.mark.django_db
def test_w002_checks_the_database_only_on_request(registry: HandlerRegistry) -> None:
    scheduled_task(name="shop.cleanup")(function_of("shop.tasks"))
    register_task("by-hand", "shop.cleanup", executor="thread", **LIMITS)
    register_task("in-a-process", "shop.cleanup", executor="process", **LIMITS)
    register_task("unlimited", "shop.cleanup", executor="thread")
    assert limits_in_the_database() == [f"The task by-hand {sentence}" for sentence in SAID]
    assert check_limits() == check_limits_in_database(databases=["other"]) == []


def test_checks_that_make_queries_are_tagged_for_databases() -> None:
    """Django 6.1 names all databases to every other check, at the start of every command."""
    assert all("database" in check.tags for check in database_checks)
    assert not any("database" in check.tags for check in static_checks)


@pytest.mark.django_db
def test_w002_names_unchanged_declared_tasks_once(
    registry: HandlerRegistry,
) -> None:
    scheduled_task(name="shop.cleanup", executor="thread", timeout=60)(function_of("shop.tasks"))
    sync()
    declared = f"The task declared for shop.cleanup {SAID[0]}"
    assert limits_in_the_database() == [declared]
    Task.objects.update(memory_limit_mb=5)
    row = Task.objects.get().name
    assert limits_in_the_database() == [
        declared,
        *(f"The task {row} {sentence}" for sentence in SAID),
    ]


@pytest.mark.django_db
def test_w002_says_nothing_of_a_database_without_tables() -> None:
    with connection.cursor() as cursor:  # taken back with the transaction of the test
        cursor.execute("ALTER TABLE scheduled_tasks_task RENAME TO somewhere_else")
    assert limits_in_the_database() == []
    assert not Execution.objects.exists()


def test_w003_a_platform_on_which_processes_do_less(
    registry: HandlerRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operating_system, "missing", lambda: ["No limits.", "No orphans."])
    [message] = found(SCHEDULED_TASKS={"EXECUTOR": "process"})
    assert message.id == "scheduled_tasks.W003"
    assert message.msg.endswith(" on this platform. No limits. No orphans.")
    assert ids(SCHEDULED_TASKS={"EXECUTOR": "thread"}) == []
    scheduled_task(name="shop.cleanup", executor="process")(function_of("shop.tasks"))
    assert ids(SCHEDULED_TASKS={"EXECUTOR": "thread"}) == ["W003"]


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
