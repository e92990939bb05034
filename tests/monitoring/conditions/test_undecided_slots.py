"""Undecided slots, and runs that do not start, as a scan finds them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import ending, firing
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.worker.scheduler import Scheduler
from tests.monitoring.scans import is_open, scan, sent
from tests.support.attempts import NOTHING, claim, outcome

Make = Callable[..., Task]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def test_an_undecided_slot_is_missed(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour")
    scan(now + HOUR + MINUTE)
    assert is_open("missed") == []
    scan(now + HOUR + MINUTE + SECOND)
    scan(now + HOUR + 2 * MINUTE)
    assert is_open("missed") == [True]
    firing.fire(now + HOUR + 3 * MINUTE, limit=9)
    assert is_open("missed") == [True]
    assert sent("raised", alert__condition="missed") == ["ops", "boss"]


@pytest.mark.parametrize("excuse", ["grace", "pause", "global pause", "disabled", "no handler"])
def test_a_slot_that_may_wait_is_not_missed(
    make_task: Make, worker: Worker, now: datetime, excuse: str
) -> None:
    grace = 600 if excuse == "grace" else None
    task = make_task("a", NOTHING, "every 1 hour", misfire_grace=grace)
    match excuse:
        case "pause":
            Task.objects.update(paused_until=now + 2 * HOUR)
        case "global pause":
            begin_pause(now, until=now + 2 * HOUR, by="code")
        case "disabled":
            Task.objects.update(enabled=False)
        case "no handler":
            Worker.objects.update(handlers=["jobs.other"])
    assert task.state.next_run_at == now + HOUR
    scan(now + HOUR + 5 * MINUTE)
    assert is_open("missed") == []


def test_what_a_round_decides_is_not_undecided(
    scheduler: Callable[..., Scheduler], make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, "every 1 hour")
    run_task_now("a", now=now)
    claim(worker, now)
    late = scheduler()
    late.tick(now)
    late.tick(now + HOUR + 10 * MINUTE)
    assert Execution.objects.get(status="skipped").slot == now + HOUR
    assert is_open("missed") == []


def test_a_run_that_does_not_start_is_told(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", start_within=10, overlap_policy="allow")
    firing.fire(now + HOUR, limit=9)
    scan(now + HOUR + 10 * SECOND)
    assert is_open("not_started") == []
    scan(now + HOUR + 11 * SECOND)
    assert is_open("not_started") == [True]
    claim(worker, now + HOUR + 12 * SECOND)
    firing.fire(now + 2 * HOUR, limit=9)
    scan(now + 2 * HOUR)
    assert is_open("not_started") == [True]
    claim(worker, now + 2 * HOUR + SECOND)
    scan(now + 2 * HOUR + MINUTE)
    assert is_open("not_started") == [False]


def test_a_retry_does_not_count_as_late(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", start_within=10, max_retries=1, retry_delay=0)
    firing.fire(now + HOUR + 11 * SECOND, limit=9)
    scan(now + HOUR + 12 * SECOND)
    claim(worker, now + HOUR + 13 * SECOND)
    ending.end([outcome(row, now) for row in held()], worker, now + HOUR + MINUTE)
    firing.fire(now + 2 * HOUR, limit=9)
    first = claim(worker, now + 2 * HOUR)
    ending.end([outcome(first, now, "failed", retryable=True)], worker, now + 2 * HOUR + MINUTE)
    claim(worker, now + 2 * HOUR + 5 * MINUTE)
    scan(now + 2 * HOUR + 6 * MINUTE)
    assert is_open("not_started") == [False]


def held() -> list[Execution]:
    return list(Execution.objects.running())
