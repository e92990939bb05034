"""Late slots and executions, and what does not count as late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState
from scheduled_tasks.monitoring.health.lateness import latest_due, oldest_due
from scheduled_tasks.monitoring.health.report import Level, health
from tests.monitoring.fleet import DAY, HOUR, MINUTE, SECOND, make_scheduler
from tests.monitoring.health.reports import said
from tests.support.attempts import NOTHING, claim, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


@pytest.fixture
def late_slot(nothing: None, make_task: Make, now: datetime) -> datetime:
    """Make a task, and return when its slot is too late: MISFIRE_THRESHOLD and a poll after it."""
    make_task("night", NOTHING, "every 5 minutes")
    return now + 5 * MINUTE + 61 * SECOND


def test_a_late_slot_is_a_warning(late_slot: datetime) -> None:
    make_scheduler(late_slot)
    assert said(late_slot - SECOND)[0] == "OK"
    sentence = "Task night was due at 2026-03-01 12:05:00 UTC and has not been fired."
    assert said(late_slot) == ("WARNING", sentence)


def test_a_late_slot_is_reported_once(late_slot: datetime) -> None:
    make_scheduler(late_slot)
    level, sentence = said(late_slot, deep=True)
    assert level == "WARNING"
    assert sentence == (
        "Task night was due at 2026-03-01 12:05:00 UTC and has not been fired, although a worker "
        "that knows its handler is alive."
    )


def test_a_new_scheduler_has_time_to_catch_up(late_slot: datetime) -> None:
    make_scheduler(late_slot, up=MINUTE)
    assert said(late_slot)[0] == "OK"
    assert latest_due(late_slot) is None
    oldest = oldest_due(late_slot)
    assert oldest is not None
    assert oldest.since == late_slot - 61 * SECOND


def test_slots_wait_for_their_handler(late_slot: datetime) -> None:
    make_scheduler(late_slot, handlers=[])
    assert said(late_slot)[0] == "OK"
    assert oldest_due(late_slot) is None


@pytest.mark.parametrize("fields", [{"enabled": False}, {"handler": "jobs.unknown"}], ids=str)
def test_slots_that_nobody_fires_are_not_late(late_slot: datetime, fields: dict[str, Any]) -> None:
    make_scheduler(late_slot)
    Task.objects.update(**fields)
    assert said(late_slot)[0] == "OK"


def test_parked_tasks_are_not_late(late_slot: datetime) -> None:
    make_scheduler(late_slot)
    TaskState.objects.update(parked_at=late_slot)
    assert said(late_slot) == ("OK", "1 scheduler is alive, nothing is late. 1 task parked.")


@pytest.fixture
def waiting(nothing: None, make_task: Make, now: datetime) -> Execution:
    """Return an execution that has been due since ``now``."""
    row = Execution.for_task(make_task("by-hand", NOTHING), trigger="manual", now=now)
    row.save()
    return row


def test_a_late_execution_is_a_warning(waiting: Execution, now: datetime) -> None:
    late = now + 61 * SECOND
    make_scheduler(late)
    assert said(late - SECOND)[0] == "OK"
    sentence = (
        f"Execution #{waiting.pk} of by-hand has been due since 2026-03-01 12:00:00 UTC and no "
        "worker has claimed it."
    )
    assert said(late) == ("WARNING", sentence)


@pytest.mark.parametrize(
    "fields",
    [
        {"queue": "reports"},
        {"handler": "jobs.unknown"},
        {"probation_seconds": 60},
        {"status": "cancelled"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("waiting")
def test_what_no_worker_may_claim_is_not_late(now: datetime, fields: dict[str, Any]) -> None:
    make_scheduler(now + HOUR, queues=["default"])
    Execution.objects.update(**fields)
    assert said(now + HOUR)[0] == "OK"


@pytest.mark.usefixtures("waiting")
def test_executions_held_back_are_not_late(now: datetime) -> None:
    """The task runs already, and its executions run one after the other."""
    claim(make_worker("busy", now), now)
    make_scheduler(now + HOUR)
    second = Execution.for_task(Task.objects.get(), trigger="manual", now=now)
    second.save()
    assert said(now + HOUR)[0] == "OK"
    Task.objects.update(overlap_policy="allow")
    assert said(now + HOUR)[0] == "WARNING"


def test_the_oldest_of_both_counts(waiting: Execution, late_slot: datetime, now: datetime) -> None:
    make_scheduler(late_slot)
    oldest = oldest_due(late_slot)
    assert oldest is not None
    assert (oldest.execution_id, oldest.since) == (waiting.pk, now)
    waiting.delete()
    oldest = oldest_due(late_slot)
    assert oldest is not None
    assert (oldest.execution_id, oldest.task_name) == (None, "night")


@pytest.mark.usefixtures("waiting")
def test_deep_adds_the_invariants(now: datetime) -> None:
    Execution.objects.update(queue="reports")
    make_scheduler(now + HOUR, queues=["default"])
    assert said(now + HOUR)[0] == "OK"
    report = health(now + HOUR, deep=True)
    assert report.level is Level.WARNING
    assert "No worker serves the queue reports: 1 execution cannot be claimed" in report.sentence
    assert [violation.code for violation in report.violations] == ["unclaimable"]
    assert said(now + HOUR, deep=True, seen=[])[0] == "OK"
    assert health(now + HOUR, deep=True, seen=report.violations) == report


@pytest.mark.usefixtures("waiting")
def test_a_pause_is_well_and_mentioned(now: datetime) -> None:
    make_scheduler(now + HOUR)
    begin_pause(now, until=now + DAY, reason="The database moves.")
    pause = "All tasks paused until 2026-03-02 12:00:00 UTC: The database moves."
    assert said(now + HOUR) == ("OK", f"1 scheduler is alive, nothing is late. {pause}")
