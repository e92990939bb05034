"""The checks of executors: their names, the limits they enforce, and what the platform allows."""

from __future__ import annotations

import os

import pytest
from django.db import connection

from scheduled_tasks import scheduled_task
from scheduled_tasks.checks import check_limits, check_limits_in_database
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.definitions import register_task
from scheduled_tasks.operations.sync import sync
from tests.checks.messages import found, ids
from tests.support.functions import function_of


class Unfinished(Executor):
    """An executor without what begins a run."""


def test_e008_an_executor_that_cannot_begin() -> None:
    [message] = found(SCHEDULED_TASKS={"EXECUTOR": f"{__name__}.Unfinished"})
    assert message.id == "scheduled_tasks.E008"
    assert "Unfinished lacks begin" in message.msg


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
