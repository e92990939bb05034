"""Tasks without a next run, or without a worker that knows their handler."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Task, TaskChange, TaskState, Worker
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from tests.monitoring.fleet import MINUTE, SECOND, make_scheduler
from tests.monitoring.invariants.scene import NEW, found
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


# Handlers that nobody knows.


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
