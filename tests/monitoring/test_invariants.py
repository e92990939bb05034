"""Each invariant: what breaks it, and what only looks as if it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskChange, TaskState, Worker
from scheduled_tasks.monitoring.health import invariants
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from scheduled_tasks.monitoring.health.violations import Violation, still_found
from scheduled_tasks.worker.scheduler import Scheduler
from tests.monitoring.fleet import DAY, HOUR, MINUTE, SECOND, make_scheduler
from tests.support.attempts import NOTHING, claim, make_worker

#: A handler that the workers of a test do not know.
NEW = "jobs.of_the_next_release"
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


def found(now: datetime) -> list[tuple[str, str]]:
    """Return the codes of what is found, each with its task."""
    return [(str(violation.code), violation.task_name) for violation in scan_invariants(now)]


def queue(task: Task, now: datetime, trigger: str = "manual", **fields: Any) -> Execution:
    row = Execution.for_task(task, trigger=trigger, now=now)
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    return row


@pytest.fixture
def task(nothing: None, make_task: Make) -> Task:
    """Return a task whose next slot is five minutes from ``now``."""
    return make_task("night", NOTHING, "every 5 minutes")


@pytest.fixture
def slot(now: datetime) -> datetime:
    return now + 5 * MINUTE


# Due and not fired.


def test_a_slot_that_nobody_fires_is_found(task: Task, slot: datetime) -> None:
    late = slot + 61 * SECOND
    make_scheduler(late)
    assert found(late - SECOND) == []
    [violation] = scan_invariants(late)
    assert (violation.key, violation.task_id) == (f"not_fired:{task.pk}", task.pk)
    assert violation.message == (
        "Task night was due at 2026-03-01 12:05:00 UTC and has not been fired, although a worker "
        "that knows its handler is alive."
    )


@pytest.mark.parametrize(
    "worker",
    [
        {"up": 30 * SECOND},
        {"silent": 2 * MINUTE},
        {"handlers": []},
        {"state": "stopping"},
        {"state": "stopped"},
        {"declaration_digest": ""},
    ],
    ids=str,
)
@pytest.mark.usefixtures("task")
def test_a_slot_waits_for_who_can_fire(slot: datetime, worker: dict[str, Any]) -> None:
    """A worker that has just started, is gone, stops, runs old code, or is ``runtask``."""
    make_scheduler(slot + 3 * MINUTE, **worker)
    assert found(slot + 3 * MINUTE) == []


def test_disabled_and_parked_tasks_are_not_due(make_task: Make, slot: datetime) -> None:
    make_scheduler(slot + HOUR)
    disabled = make_task("disabled", NOTHING, "every 5 minutes")
    Task.objects.filter(pk=disabled.pk).update(enabled=False)
    parked = make_task("parked", NOTHING, "every 5 minutes")
    park(parked.state, "It cannot run.", slot, using="default")
    make_task("by-hand", NOTHING)
    assert found(slot + HOUR) == []


def test_a_working_scheduler_breaks_nothing(
    task: Task, make_task: Make, scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    """Not while everything or a task is paused, and not after an outage of a day."""
    make_task("paused", NOTHING, "every 1 minute", paused_until=now + HOUR)
    working = scheduler()
    for minute in range(20):
        if minute == 10:
            begin_pause(now + minute * MINUTE, until=now + 15 * MINUTE)
        working.tick(now + minute * MINUTE)
        assert found(now + minute * MINUTE) == []
    Worker.objects.update(heartbeat_at=now + 20 * MINUTE)
    assert found(now + DAY) == []
    restarted = scheduler()
    restarted.engine.start(now + DAY)
    assert found(now + DAY) == []
    restarted.tick(now + DAY)
    assert found(now + DAY) == []
    assert Execution.objects.filter(task=task).exists()


@pytest.mark.long
def test_a_rolling_deploy_breaks_nothing(
    orphan: Task,
    scheduler: Callable[..., Scheduler],
    registry: HandlerRegistry,
    now: datetime,
) -> None:
    """Old workers do not know the handler, park its task in the end, and the new ones unpark it."""
    old = scheduler()
    for minute in range(30):
        old.tick(now + minute * MINUTE)
        assert found(now + minute * MINUTE) == []
    assert TaskState.objects.get().parked_at is not None

    @scheduled_task(name=NEW)
    def of_the_next_release() -> None: ...

    for minute in range(30, 40):
        old.tick(now + minute * MINUTE)
        if minute == 30:
            new = scheduler()
        new.tick(now + minute * MINUTE)
        assert found(now + minute * MINUTE) == []
    assert Execution.objects.filter(task=orphan, status="success").exists()


# Handlers that nobody knows.


@pytest.fixture
def orphan(task: Task, now: datetime) -> Task:
    """Return a task that was made at ``now``, with a handler that no worker knows."""
    Task.objects.update(handler=NEW)
    TaskChange.objects.update(changed_at=now)
    return task


@pytest.mark.usefixtures("orphan")
def test_a_due_task_without_worker_is_found(slot: datetime) -> None:
    """Workers would have parked it after HANDLER_GRACE, and two leases are left for that."""
    grace = 12 * MINUTE
    make_scheduler(slot + grace + MINUTE)
    assert found(slot + grace - SECOND) == []
    [violation] = scan_invariants(slot + grace)
    assert (violation.code, violation.task_name) == ("unknown_handler", "night")
    assert (
        "is not parked, although no worker knows its handler jobs.of_the_next" in violation.message
    )


@pytest.mark.parametrize("other", [{"silent": 11 * MINUTE}, {"state": "stopped"}], ids=str)
@pytest.mark.usefixtures("orphan")
def test_workers_that_were_here_know_handlers(slot: datetime, other: dict[str, Any]) -> None:
    now = slot + 13 * MINUTE
    make_scheduler(now)
    make_scheduler(now, handlers=[NEW], **other)
    assert found(now) == []


def test_a_changed_task_has_time_for_deploys(orphan: Task, slot: datetime) -> None:
    now = slot + 13 * MINUTE
    make_scheduler(now)
    TaskChange.objects.create(task=orphan, action="changed", changed_at=now - 2 * MINUTE)
    assert found(now) == []


# No next run.


def test_a_task_without_next_run_is_found(task: Task, now: datetime) -> None:
    TaskState.objects.update(next_run_at=None)
    worker = make_scheduler(now, up=2 * MINUTE)
    [violation] = scan_invariants(now)
    assert (violation.code, violation.task_id) == ("no_next_run", task.pk)
    assert "Task night is enabled and has no next run" in violation.message
    # Workers restart clocks when they start, and then once per lease.
    Worker.objects.filter(pk=worker.pk).update(started_at=now - MINUTE)
    assert found(now) == []


def test_a_schedule_that_cannot_be_followed_counts(task: Task, now: datetime) -> None:
    """A worker parks such a task, when it starts the clock again."""
    make_scheduler(now)
    Task.objects.update(schedule="nonsense")
    TaskState.objects.update(next_run_at=None)
    assert found(now) == [("no_next_run", task.name)]


def test_tasks_without_slots_need_no_run(make_task: Make, now: datetime) -> None:
    make_scheduler(now)
    make_task("by-hand", NOTHING)
    make_task("over", NOTHING, "at 2020-01-01 00:00")
    make_task("ended", NOTHING, "every 1 hour", ends_at=now - MINUTE)
    make_task("ends-before-its-slot", NOTHING, "every 1 hour", ends_at=now + MINUTE)
    make_task("off", NOTHING, "every 1 hour", enabled=False)
    parked = make_task("parked", NOTHING, "every 1 hour")
    park(parked.state, "It cannot run.", now, using="default")
    assert TaskState.objects.filter(next_run_at=None).count() == 6
    assert found(now) == []


# Stale leases.


@pytest.fixture
def running(task: Task, worker: Worker, now: datetime) -> Execution:
    """Return an execution that the worker ``first`` has claimed at ``now``."""
    queue(task, now)
    return claim(worker, now)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("running", "is silent; its last heartbeat was at 2026-03-01 12:00:00 UTC"),
        ("lost", "was lost; its last heartbeat was at 2026-03-01 12:00:00 UTC"),
        ("stopped", "has stopped; its last heartbeat was at 2026-03-01 12:00:00 UTC"),
        (None, "has no row any more"),
    ],
)
def test_runs_of_silent_workers_are_found(
    running: Execution, worker: Worker, now: datetime, state: str | None, why: str
) -> None:
    if state is None:
        worker.delete()
    else:
        worker.move_to(state)
    later = now + 2 * MINUTE
    make_scheduler(later)
    TaskState.objects.update(next_run_at=later + DAY)
    [violation] = scan_invariants(later)
    assert violation.message == (
        f"1 execution of the worker first, the first of them #{running.pk} of night, counted as "
        f"running, although it {why}."
    )
    assert (violation.worker, violation.execution_id) == ("first", running.pk)
    assert found(later - SECOND) == []


@pytest.mark.usefixtures("running")
def test_after_an_outage_workers_are_observed_first(now: datetime) -> None:
    """A worker that has just started has to observe the others for a whole lease."""
    make_scheduler(now + HOUR, up=119 * SECOND)
    TaskState.objects.update(next_run_at=now + DAY)
    assert found(now + HOUR) == []


def test_runs_of_live_workers_may_take_long(
    running: Execution, worker: Worker, now: datetime
) -> None:
    make_scheduler(now + DAY)
    TaskState.objects.update(next_run_at=now + 2 * DAY)
    Worker.objects.filter(pk=worker.pk).update(heartbeat_at=now + DAY)
    assert found(now + DAY) == []
    assert running.status == "running"


def test_runs_that_end_during_the_scan(
    running: Execution, worker: Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read before the workers, and end with theirs before these are read."""
    make_scheduler(now + HOUR)
    TaskState.objects.update(next_run_at=now + DAY)
    only = type(Worker.objects.all()).only

    def end_then_read(rows: Any, *names: str) -> Any:
        Execution.objects.filter(pk=running.pk).update(status="success", exclusive=None)
        worker.delete()
        return only(rows, *names)

    monkeypatch.setattr(type(Worker.objects.all()), "only", end_then_read)
    assert found(now + HOUR) == []
    assert not Worker.objects.filter(pk=worker.pk).exists()


# Executions that no worker can claim.


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"queue": "reports"}, "No worker serves the queue reports: "),
        (
            {"handler": NEW},
            "No worker that serves the queue default knows the handler jobs.of_the_next_release: ",
        ),
    ],
)
def test_executions_without_a_worker_are_found(
    make_task: Make, now: datetime, fields: dict[str, str], why: str
) -> None:
    by_hand = make_task("by-hand", NOTHING)
    first = queue(by_hand, now, **fields)
    queue(by_hand, now + MINUTE, **fields)
    queue(by_hand, now)
    make_scheduler(now + DAY, queues=["default", "mail"])
    later = now + 12 * MINUTE
    make_scheduler(later, label="green", queues=["mail"])
    [violation] = scan_invariants(later)
    said = "2 executions cannot be claimed, the oldest has been due since 2026-03-01 12:00:00 UTC."
    assert violation.message == why + said
    assert (violation.code, violation.execution_id) == ("unclaimable", first.pk)


def test_a_worker_of_every_queue_claims_all(make_task: Make, now: datetime) -> None:
    queue(make_task("by-hand", NOTHING), now, queue="reports")
    make_scheduler(now + HOUR, queues=["default"])
    make_scheduler(now + HOUR, queues=[])
    assert found(now + HOUR) == []


@pytest.mark.parametrize(
    "other",
    [
        {"silent": 9 * MINUTE},
        {"state": "stopped", "silent": 9 * MINUTE},
        {"up": SECOND},
        {"state": "stopping"},
    ],
    ids=str,
)
def test_a_queue_has_time_for_deploys(
    make_task: Make, now: datetime, other: dict[str, Any]
) -> None:
    queue(make_task("by-hand", NOTHING), now, queue="reports")
    make_scheduler(now + HOUR, queues=["default"])
    make_scheduler(now + HOUR, queues=["reports"], **other)
    assert found(now + HOUR) == []


def test_after_a_restart_queues_have_time(make_task: Make, now: datetime) -> None:
    queue(make_task("by-hand", NOTHING), now, queue="reports")
    make_scheduler(now + HOUR, queues=["default"], up=9 * MINUTE)
    assert found(now + HOUR) == []


def test_paused_executions_are_not_waited_for(make_task: Make, now: datetime) -> None:
    make_scheduler(now + HOUR, queues=["default"])
    paused = make_task("paused", NOTHING, paused_until=now + DAY)
    row = queue(paused, now, "schedule", queue="reports")
    assert found(now + HOUR) == []
    Execution.objects.filter(pk=row.pk).update(trigger="manual")
    assert [code for code, _ in found(now + HOUR)] == ["unclaimable"]
    begin_pause(now)
    assert found(now + HOUR) == []


def test_what_is_not_due_is_not_waited_for(make_task: Make, now: datetime) -> None:
    make_scheduler(now + HOUR, queues=["default"])
    queue(make_task("by-hand", NOTHING), now, queue="reports", run_after=now + 51 * MINUTE)
    assert found(now + HOUR) == []


# Two executions for a slot.


schema_editor = connection.schema_editor


@contextmanager
def without_unique_slots() -> Iterator[None]:
    [unique] = [
        constraint
        for constraint in Execution._meta.constraints
        if constraint.name == invariants.ONE_PER_SLOT
    ]
    others = [constraint for constraint in Execution._meta.constraints if constraint is not unique]
    # SQLite makes the table again, with the constraints of the model.
    with patch.object(Execution._meta, "constraints", others), schema_editor() as editor:
        editor.remove_constraint(Execution, unique)
    try:
        yield
    finally:
        Execution.objects.all().delete()
        with schema_editor() as editor:
            editor.add_constraint(Execution, unique)


@pytest.mark.django_db(transaction=True)
def test_a_missing_constraint_is_found(task: Task, slot: datetime) -> None:
    with without_unique_slots():
        [violation] = scan_invariants(slot)
        assert violation.message == (
            "The unique constraint scheduled_tasks_one_per_slot is missing: a slot may run twice."
        )
        for _ in range(2):
            queue(task, slot, "schedule", slot=slot)
        [violation] = scan_invariants(slot)
        assert violation.code == "slot_not_unique"
        assert violation.message.endswith("night has two executions for one slot.")
    assert found(slot) == []


# Clocks.


@pytest.mark.parametrize("seconds", [-60, -3, 3, 60])
def test_a_clock_that_differs_is_found(
    now: datetime, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(seconds=seconds))
    [violation] = scan_invariants(now)
    assert violation.code == "clock_differs"
    assert f"differs from the database's by {abs(seconds)} s" in violation.message


def test_a_slow_query_is_no_difference(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    real, moments = timezone.now, iter([-60, 60])
    monkeypatch.setattr(timezone, "now", lambda: real() + timedelta(seconds=next(moments)))
    assert found(now) == []


# What holds for all.


def test_only_what_lasts_is_still_found() -> None:
    def violation(about: str, message: str = "") -> Violation:
        return Violation(invariants.Invariant.NOT_FIRED, about, message)

    after = [violation("2", "Later."), violation("3")]
    assert still_found([violation("1"), violation("2")], after) == [violation("2", "Later.")]


def test_without_workers_nothing_is_said_of_them(
    task: Task, make_task: Make, now: datetime
) -> None:
    """That none is alive says it all."""
    queue(make_task("by-hand", NOTHING), now)
    queue(task, now)
    claim(make_worker("gone", now), now)
    assert found(now + DAY) == []


def test_queries_and_findings_are_bounded(
    make_task: Make,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(invariants, "MAX_FOUND", 2)
    make_scheduler(now + HOUR, queues=["default"])
    for number in range(3):
        make_task(f"late-{number}", NOTHING, "every 5 minutes")
        stopped = make_task(f"stopped-{number}", NOTHING, "every 5 minutes")
        TaskState.objects.filter(pk=stopped.pk).update(next_run_at=None)
        queue(make_task(f"by-hand-{number}", NOTHING), now, queue=f"q{number}")
    with CaptureQueriesContext(connection) as captured:
        codes = [code for code, _ in found(now + HOUR)]
    # SQLite answers what constraints there are by dozens of others.
    queries = [query for query in captured if 'FROM "scheduled_tasks_' in query["sql"]]
    assert len(queries) < 15
    assert codes == ["not_fired"] * 2 + ["no_next_run"] * 2 + ["unclaimable"] * 2


def test_a_registry_is_not_needed(task: Task, slot: datetime, registry: HandlerRegistry) -> None:
    """The web may know other handlers than the workers do; their rows count."""
    registry.handlers.clear()
    make_scheduler(slot + HOUR)
    assert found(slot + HOUR) == [("not_fired", task.name)]
