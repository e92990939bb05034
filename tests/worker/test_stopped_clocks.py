"""Clocks of tasks that bulk updates have disabled and enabled: they start again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.worker import maintenance
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING

MINUTE = timedelta(minutes=1)


@pytest.mark.usefixtures("nothing")
def test_a_bulk_update_restarts_clocks_within_a_lease(
    make_task: Callable[..., Task], scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    task = make_task("often", NOTHING, "every 1 minute")
    over = make_task("over", NOTHING, "at 2026-03-01 12:01")
    worker = scheduler()
    worker.tick(now)
    Task.objects.update(enabled=False)
    worker.tick(now + MINUTE)
    assert clock_of(task) is None
    Task.objects.update(enabled=True)
    worker.tick(now + 3 * MINUTE)
    assert clock_of(task) == now + 4 * MINUTE
    assert clock_of(over) is None
    worker.tick(now + 4 * MINUTE)
    assert list(Execution.objects.values_list("slot", flat=True)) == [now + 4 * MINUTE]


@pytest.mark.usefixtures("nothing")
def test_clocks_that_stay_stopped_hold_up_no_other(
    make_task: Callable[..., Task], worker: Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "MAX_TASKS_PER_ROUND", 2)
    for number in range(3):
        make_task(f"past-{number}", NOTHING, "at 2020-01-01 00:00")
    task = make_task("often", NOTHING, "every 1 minute")
    TaskState.objects.update(next_run_at=None)
    chores = maintenance.Maintenance(worker, syncs=False)
    for _ in range(2):
        chores.restart_clocks(now)
    assert clock_of(task) == now + MINUTE


@pytest.mark.usefixtures("nothing")
def test_parked_and_manual_tasks_keep_no_clock(
    make_task: Callable[..., Task], scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    manual = make_task("manual", NOTHING)
    parked = make_task("parked", NOTHING, "every 1 minute")
    TaskState.objects.filter(pk=parked.pk).update(parked_at=now, next_run_at=None)
    worker = scheduler()
    for minutes in (0, 2, 4):
        worker.tick(now + minutes * MINUTE)
    assert (clock_of(manual), clock_of(parked)) == (None, None)


def clock_of(task: Task) -> datetime | None:
    task.state.refresh_from_db()
    return task.state.next_run_at
