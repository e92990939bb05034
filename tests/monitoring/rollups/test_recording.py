"""Each way in which executions end, or slots are covered, is counted once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks import run_task_now, unregister_task
from scheduled_tasks.lifecycle import claiming, ending, firing, stopping
from scheduled_tasks.models import Execution, RollupEntry, Task, Worker
from scheduled_tasks.monitoring.rollups import figures
from scheduled_tasks.monitoring.rollups.figures import Figures
from tests.monitoring.rollups.recount import recounted
from tests.support.attempts import NOTHING, begin, claim, loss, make_worker, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
HOUR, SECOND, DAY = timedelta(hours=1), timedelta(seconds=1), timedelta(days=1)


def figures_of(task: Task, now: datetime) -> Figures:
    """Return the figures of the only day."""
    [found] = figures.figures(since=now - DAY, until=now + DAY, resolution="day", tasks=[task.pk])
    return found


def counted(task: Task, now: datetime) -> dict[str, int]:
    """Return the statuses of which there are any."""
    return {status: count for status, count in figures_of(task, now).counts.items() if count}


def fire_and_claim(worker: Worker, now: datetime) -> Execution:
    firing.fire(now, limit=10)
    return claim(worker, now)


def test_a_success_is_counted(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING)
    run_task_now("a", now=now)
    row = claim(worker, now)
    Execution.objects.update(processed_count=7, error_count=2)
    ending.end([outcome(row, now)], worker, now)
    found = figures_of(task, now)
    assert counted(task, now) == {"success": 1}
    assert (found.processed, found.errors, found.max_ms, found.p95_ms) == (7, 2, 1, 1)
    assert (found.retries, found.started, found.reliability) == ({}, 0, None)


def test_a_retried_slot_is_late_once(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour", max_retries=2)
    slot = now + HOUR
    first = fire_and_claim(worker, slot)
    ending.end([outcome(first, slot + 3 * SECOND, "failed")], worker, slot)
    later = slot + timedelta(minutes=5)
    ending.end([outcome(claim(worker, later), later)], worker, later)
    found = figures_of(task, now)
    assert counted(task, now) == {"success": 1}
    assert found.retries == {"1": 1}
    assert (found.started, found.on_time, found.reliability) == (1, 1, 1.0)
    assert found.lateness_p95_ms == pytest.approx(3_000, rel=0.15)


def test_jitter_does_not_make_late(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour", jitter=1_000)
    firing.fire(now + HOUR, limit=10)
    due = Execution.objects.get().run_after
    ending.end([outcome(claim(worker, due), due)], worker, due)
    assert figures_of(task, now).lateness_p95_ms == 0


def test_what_begins_late_is_not_on_time(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour")
    row = fire_and_claim(worker, now + HOUR)
    late = now + HOUR + timedelta(seconds=61)
    ending.end([outcome(row, late)], worker, late)
    found = figures_of(task, now)
    assert (found.started, found.on_time, found.reliability) == (1, 0, 0.0)


def test_a_lost_run_fails_with_its_duration(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour", on_lost="fail")
    row = fire_and_claim(worker, now + HOUR)
    ended = now + HOUR + 2 * SECOND
    ending.end([loss(begun(row))], worker, ended)
    assert counted(task, now) == {"failed": 1}
    assert figures_of(task, now).max_ms == 2_000
    assert figures_of(task, now).started == 1


def begun(row: Execution) -> Execution:
    Execution.objects.filter(pk=row.pk).update(begin_awaited=False)
    return row


def test_test_mode_is_not_counted(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING)
    run_task_now("a", now=now, test_mode=True)
    ending.end([outcome(claim(worker, now), now)], worker, now)
    run_task_now("a", now=now, test_mode=True)
    stopping.cancel([Execution.objects.latest("pk").pk], now)
    assert not RollupEntry.objects.exists()


def test_what_is_cancelled_is_counted(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING)
    execution = run_task_now("a", now=now)
    stopping.cancel([execution.pk], now)
    assert counted(task, now) == {"cancelled": 1}


def test_a_cancelled_retry_counts_its_retries(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("a", NOTHING, max_retries=5, retry_delay=0)
    run_task_now("a", now=now)
    for minute in range(2):
        later = now + timedelta(minutes=minute)
        ending.end([outcome(claim(worker, later), later, "failed")], worker, later)
    stopping.cancel([Execution.objects.get().pk], now)
    assert figures_of(task, now).retries == {"1": 1}


def test_disabling_counts_what_is_skipped(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour")
    firing.fire(now + HOUR, limit=10)
    task.switch(enabled=False, now=now + HOUR, by="test")
    assert counted(task, now) == {"skipped": 1}


def test_what_is_deleted_keeps_its_figures(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING)
    pk = task.pk
    run_task_now("a", now=now)
    task.delete(now=now)
    [found] = figures.figures(since=now - DAY, until=now + DAY)
    assert (found.task_id, found.task, found.counts["cancelled"]) == (pk, "a", 1)


def test_what_outlives_its_task_is_not_counted(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING)
    run_task_now("a", now=now)
    row = claim(worker, now)
    unregister_task("a")
    ending.end([outcome(row, now)], worker, now)
    assert not RollupEntry.objects.exists()


def test_slots_that_were_missed_count_each(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 minute", misfire_policy="skip")
    firing.fire(now + timedelta(minutes=30, seconds=90), limit=10)
    assert counted(task, now) == {"missed": 30}
    # The slot that came in time would keep the next ones from running.
    Execution.objects.filter(status="queued").delete()
    firing.fire(now + timedelta(minutes=40, seconds=90), limit=10)
    assert counted(task, now) == {"missed": 39}
    assert recounted(task.pk)["missed"] == 39
    assert figures_of(task, now).reliability == 0.0


def test_an_extended_row_counts_what_is_added(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 minute")
    task.paused_until = now + HOUR
    task.save(now=now)
    for minutes in (10, 25):
        firing.fire(now + timedelta(minutes=minutes), limit=10)
        assert counted(task, now) == {"skipped": minutes}
    assert Execution.objects.get().slots == 25


def test_a_slot_with_an_execution_is_not_covered(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour", overlap_policy="skip")
    firing.fire(now + HOUR, limit=10)
    # As after a restored backup: the clock stands at a slot that has its execution.
    state = task.state
    state.next_run_at = now + HOUR
    state.save()
    firing.fire(now + HOUR, limit=10)
    assert not RollupEntry.objects.exists()


def test_what_is_too_late_to_claim_is_missed(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("a", NOTHING, "every 1 hour", misfire_grace=60)
    firing.fire(now + HOUR, limit=10)
    claiming.claim(worker, now + HOUR + timedelta(minutes=2), limit=1, handlers=[NOTHING])
    assert counted(task, now) == {"missed": 1}


def test_a_task_keeps_its_newest_name(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING)
    for name in ("a", "b"):
        task.name = name
        task.save()
        run_task_now(name, now=now)
        ending.end([outcome(claim(worker, now), now)], worker, now)
    assert figures_of(task, now).task == "b"
    assert counted(task, now) == {"success": 2}


def test_a_batch_costs_one_statement(make_task: Make, now: datetime) -> None:
    worker = make_worker("many", now)
    for number in range(20):
        make_task(f"task-{number}", NOTHING)
        run_task_now(f"task-{number}", now=now)
    rows = claiming.claim(worker, now, limit=20, handlers=[NOTHING]).rows
    with CaptureQueriesContext(connection) as captured:
        ending.end([outcome(row, now) for row in rows], worker, now)
    table = RollupEntry._meta.db_table
    told = [query for query in captured if table in query["sql"] or "rollup" in query["sql"]]
    assert len(told) == 1
    assert RollupEntry.objects.count() == 1


def test_a_rollback_takes_the_figures_along(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING)
    run_task_now("a", now=now)
    row = begin(worker, now)
    Execution.objects.update(attempt=5)
    assert ending.end([outcome(row, now)], worker, now) == []
    assert not RollupEntry.objects.exists()


def test_figures_of_hours_are_of_their_hour(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING)
    for later in (now, now + HOUR - SECOND, now + HOUR, now + 2 * HOUR):
        run_task_now("a", now=later)
        ending.end([outcome(claim(worker, later), later)], worker, later)
    found: list[Any] = figures.figures(since=now, until=now + 2 * HOUR, tasks=[task.pk])
    assert [(each.start, each.count) for each in found] == [(now, 2), (now + HOUR, 1)]
