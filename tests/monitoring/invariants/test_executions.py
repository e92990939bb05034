"""Executions that no worker runs or can claim."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.monitoring.health import invariants
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from tests.monitoring.fleet import DAY, HOUR, MINUTE, SECOND, make_scheduler
from tests.monitoring.invariants.scene import NEW, found, queue
from tests.support.attempts import NOTHING, claim

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


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


def test_very_many_executions_are_not_counted(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invariants, "MAX_WAITING", 2)
    by_hand = make_task("by-hand", NOTHING)
    for _ in range(3):
        queue(by_hand, now, queue="reports")
    make_scheduler(now + HOUR, queues=["default"])
    [violation] = scan_invariants(now + HOUR)
    assert ": at least 2 executions cannot be claimed" in violation.message


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
