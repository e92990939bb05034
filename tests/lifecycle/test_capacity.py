"""Fired slots run at once on the worker that fires them, if it has capacity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.lifecycle import firing
from scheduled_tasks.lifecycle.capacity import Capacity
from scheduled_tasks.models import Execution, Pause, Task, TaskState, Worker
from scheduled_tasks.runtime.runs import Run
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
#: How long after noon it is fired: half a minute after a slot of every five minutes.
LATER = 5.5 * MINUTE
Make = Callable[..., Task]


@pytest.fixture
def fire(worker: Worker, now: datetime) -> Callable[..., list[Run]]:
    """Return what fires the slots that have come for so many free capacity."""

    def fire(capacity: int = 10, **options: Any) -> list[Run]:
        free = Capacity(worker, capacity, options.pop("handlers", [NOTHING]), **options)
        return firing.fire_and_claim(free, now + LATER, limit=100)[1]

    return fire


def statuses() -> list[tuple[str, str]]:
    """Return the name and the status of all executions, in the order of their ids."""
    return list(Execution.objects.order_by("pk").values_list("task_name", "status"))


def test_a_slot_runs_from_its_first_moment(
    make_task: Make, fire: Callable[..., list[Run]], worker: Worker, now: datetime
) -> None:
    terms = {"timeout": 60, "memory_limit_mb": 500, "executor": "thread"}
    task = make_task("one", NOTHING, "every 5 minutes", payload={"n": 3}, **terms)
    [run] = fire()
    row = Execution.objects.get()
    assert (row.status, row.attempt, row.worker, row.exclusive) == (
        "running",
        1,
        str(worker.pk),
        task.pk,
    )
    assert (row.worker_label, row.claimed_at) == ("first", now + LATER)
    assert run == row.as_run(), "an executor is told the same as by a claim"
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 10 * MINUTE


def test_slots_start_by_priority_up_to_capacity(
    make_task: Make, fire: Callable[..., list[Run]]
) -> None:
    for name, priority in (("low", -1), ("middle", 0), ("high", 1)):
        make_task(name, NOTHING, "every 5 minutes", priority=priority)
    assert [run.task_name for run in fire(capacity=2)] == ["high", "middle"]
    assert statuses() == [("high", "running"), ("middle", "running"), ("low", "queued")]


def test_no_slot_overtakes_a_suspect(make_task: Make, fire: Callable[..., list[Run]]) -> None:
    for name, priority in (("low", -1), ("suspect", 0), ("high", 1)):
        make_task(name, NOTHING, "every 5 minutes", priority=priority)
    TaskState.objects.filter(task__name="suspect").update(probation_seconds=30)
    assert [run.task_name for run in fire()] == ["high"]
    assert statuses() == [("high", "running"), ("low", "queued"), ("suspect", "queued")]


def test_a_task_without_overlap_starts_one_slot(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime
) -> None:
    make_task("one", NOTHING, "every 1 minute", overlap_policy="buffer_all")
    beside = make_task("beside", NOTHING, "every 1 minute", overlap_policy="allow")
    runs = fire(capacity=4)
    assert [(run.task_name, run.scheduled_for - now) for run in runs] == [
        ("one", 4 * MINUTE),
        ("beside", 4 * MINUTE),
        ("beside", 5 * MINUTE),
    ]
    assert ("one", "queued") in statuses()
    exclusive = Execution.objects.filter(task=beside, status="running")
    assert set(exclusive.values_list("exclusive", flat=True)) == {None}


@pytest.mark.parametrize("status", ["queued", "running"])
def test_not_beside_one_that_has_not_ended(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime, status: str
) -> None:
    task = make_task("one", NOTHING, "every 5 minutes", overlap_policy="buffer_one")
    Execution.objects.create(
        task=task, task_name="one", handler=NOTHING, status=status, trigger="manual",
        scheduled_for=now, run_after=now, created_at=now,
    )  # fmt: skip
    assert fire() == []
    assert statuses() == [("one", status), ("one", "queued")]


@pytest.mark.parametrize(
    "fields",
    [
        {"jitter": 200},
        {"queue": "reports"},
        {"overlap_policy": "cancel_other"},
        {"handler": "jobs.other"},
    ],
)
def test_slots_that_cannot_start_here_are_queued(
    make_task: Make, fire: Callable[..., list[Run]], fields: dict[str, Any]
) -> None:
    task = make_task("one", NOTHING, "every 5 minutes")
    Task.objects.filter(pk=task.pk).update(**fields)
    assert fire(queues=["default"]) == []
    assert statuses() == [("one", "queued")]


@pytest.mark.parametrize(("capacity", "at_once"), [(1, []), (2, ["middle"])])
def test_no_slot_overtakes_one_that_needs_a_claim(
    make_task: Make, fire: Callable[..., list[Run]], capacity: int, at_once: list[str]
) -> None:
    make_task("high", NOTHING, "every 5 minutes", priority=10, overlap_policy="cancel_other")
    for name, priority in (("low", -1), ("middle", 0)):
        make_task(name, NOTHING, "every 5 minutes", priority=priority)
    assert [run.task_name for run in fire(capacity)] == at_once


def test_nothing_begins_while_everything_is_paused(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime
) -> None:
    """A pause that began after the slot leaves it its execution, which waits for the end."""
    make_task("one", NOTHING, "every 5 minutes")
    Pause.objects.create(begun_at=now + LATER)
    assert fire() == []
    assert statuses() == [("one", "queued")]


def test_a_slot_already_taken_is_left_alone(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime
) -> None:
    taken = make_task("taken", NOTHING, "every 5 minutes", overlap_policy="allow")
    make_task("free", NOTHING, "every 5 minutes", overlap_policy="allow")
    slot = now + 5 * MINUTE
    row = Execution.for_task(taken, trigger="schedule", now=slot, slot=slot)
    row.status = Execution.Status.SUCCESS
    row.save()
    assert [run.task_name for run in fire()] == ["free"]
    assert statuses() == [("taken", "success"), ("free", "running")]


def test_nothing_overtakes_what_waits_for_the_same_worker(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime
) -> None:
    waiting = Execution.for_task(make_task("waits", NOTHING), trigger="manual", now=now)
    waiting.save()
    make_task("slot", NOTHING, "every 5 minutes")
    assert fire() == []
    assert statuses() == [("waits", "queued"), ("slot", "queued")]


@pytest.mark.parametrize(
    "fields", [{"queue": "other"}, {"handler": "another"}, {"run_after": LATER + MINUTE}]
)
def test_queued_runs_for_others_or_later_block_nothing(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime, fields: dict[str, Any]
) -> None:
    waiting = Execution.for_task(make_task("waits", NOTHING), trigger="manual", now=now)
    for name, value in fields.items():
        setattr(waiting, name, now + value if name == "run_after" else value)
    waiting.save()
    make_task("one", NOTHING, "every 5 minutes")
    assert [run.task_name for run in fire(queues=["default"])] == ["one"]


def test_slots_held_back_block_nothing_once_seen(
    make_task: Make, fire: Callable[..., list[Run]], now: datetime
) -> None:
    busy = make_task("busy", NOTHING)
    for status in ("running", "queued"):
        row = Execution.for_task(busy, trigger="manual", now=now)
        row.status = status
        row.save()
    make_task("one", NOTHING, "every 5 minutes")
    make_task("two", NOTHING, "every 5 minutes", anchor=now - MINUTE)
    assert fire() == []
    Execution.objects.filter(task_name__in=["one", "two"]).update(status="success")
    TaskState.objects.filter(task__name="two").update(next_run_at=now + 5 * MINUTE)
    assert [run.task_name for run in fire(past_held_back=True)] == ["two"]


def test_statements_do_not_grow_with_slots(make_task: Make, fire: Callable[..., list[Run]]) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Elsewhere rows of different values are written one by one.")
    make_task("task-0", NOTHING, "every 5 minutes")
    with CaptureQueriesContext(connection) as for_one:
        assert len(fire()) == 1
    for number in range(1, 40):
        make_task(f"task-{number}", NOTHING, "every 5 minutes")
    with CaptureQueriesContext(connection) as for_many:
        assert len(fire(capacity=100)) == 39
    assert len(for_many) == len(for_one)
