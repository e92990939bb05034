"""Workers prune once a day among all of them, and leave the database to others in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.db.models import F
from django.utils import timezone

from scheduled_tasks.exceptions import ArchiveFailed
from scheduled_tasks.models import Execution, Lock, Task, Worker
from scheduled_tasks.worker import pruning
from scheduled_tasks.worker.pruning import LOCK, DailyPruning, PruningStoppedError
from scheduled_tasks.worker.scheduler import Scheduler
from tests.concurrency.beside import elsewhere
from tests.support.attempts import NOTHING, make_worker
from tests.support.old_rows import old_execution
from tests.support.processes import LONG, wait_until

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
Make = Callable[..., Task]


@pytest.fixture(autouse=True)
def nothing_is_kept_for_its_number(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "KEEP_LAST": 0}


@pytest.fixture
def daily(worker: Worker, now: datetime) -> DailyPruning:
    return DailyPruning(worker, lambda: now)


@pytest.fixture
def task(nothing: None, make_task: Make, now: datetime) -> Task:
    """Return a task with an old execution."""
    task = make_task("daily", NOTHING)
    old_execution(task, now, 100)
    return task


def test_it_prunes_once_a_day(daily: DailyPruning, task: Task, now: datetime) -> None:
    daily.prune_if_due()
    assert not Execution.objects.exists()
    another = DailyPruning(make_worker("second", now), lambda: now)
    old_execution(task, now, 101)
    for each in (daily, another):
        each.prune_if_due()
    assert Execution.objects.count() == 1
    pass_by(timedelta(hours=23))
    another.prune_if_due()
    assert Execution.objects.count() == 1
    pass_by(timedelta(hours=1))
    another.prune_if_due()
    assert not Execution.objects.exists()


def pass_by(length: timedelta) -> None:
    """Let time pass for the lock, which follows the database's clock."""
    assert Lock.objects.filter(name=LOCK).update(expires_at=F("expires_at") - length) == 1


def test_nothing_is_pruned_when_switched_off(
    daily: DailyPruning, task: Task, settings: Any
) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "PRUNE": False}
    daily.prune_if_due()
    assert Execution.objects.exists()


@pytest.mark.parametrize(("enabled", "left"), [(True, 1), (False, 0)])
def test_an_enabled_task_does_it_instead(
    daily: DailyPruning, task: Task, make_task: Make, *, enabled: bool, left: int
) -> None:
    make_task("prune-executions", NOTHING, enabled=enabled)
    daily.prune_if_due()
    assert Execution.objects.count() == left


def test_a_failed_pass_is_tried_an_hour_later(
    daily: DailyPruning,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(**_: Any) -> None:
        raise ArchiveFailed("The storage 'archive' failed.")

    with monkeypatch.context() as broken:
        broken.setattr(pruning, "prune_executions", fail)
        daily.prune_if_due()
        daily.prune_if_due()
    errors = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert errors == ["pruning failed, trying again in an hour: The storage 'archive' failed."]
    pass_by(timedelta(hours=1))
    daily.prune_if_due()
    assert not Execution.objects.exists()


def test_it_rests_four_times_its_work(daily: DailyPruning, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    def wait(seconds: float) -> bool:
        rests.append(seconds)
        return False

    monkeypatch.setattr(daily._stop, "wait", wait)
    daily._acquire()
    daily._rest(0.1)
    assert rests == [pytest.approx(0.4)]


def test_the_lock_is_renewed_during_the_pass(
    daily: DailyPruning, monkeypatch: pytest.MonkeyPatch
) -> None:
    daily._acquire()
    first = Lock.objects.get(name=LOCK).expires_at
    daily._rest(0)
    assert Lock.objects.get(name=LOCK).expires_at == first
    monkeypatch.setattr(pruning, "RENEWAL_LEASES", 0)
    daily._rest(0)
    assert Lock.objects.get(name=LOCK).expires_at >= first
    Lock.objects.filter(name=LOCK).update(token="another")
    with pytest.raises(PruningStoppedError):
        daily._rest(0)


def test_a_stopping_worker_leaves_the_rest(daily: DailyPruning, task: Task, now: datetime) -> None:
    daily._stop.set()
    with pytest.raises(PruningStoppedError):
        daily.prune_if_due()
    assert Execution.objects.exists()


def test_another_worker_takes_over_after_a_lease(
    daily: DailyPruning, task: Task, now: datetime
) -> None:
    daily._acquire()  # and then its process dies
    another = DailyPruning(make_worker("second", now), lambda: now)
    another.prune_if_due()
    assert Execution.objects.exists()
    pass_by(timedelta(seconds=60))
    another.prune_if_due()
    assert not Execution.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_thread_goes_on_after_errors(
    daily: DailyPruning,
    task: Task,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pruning, "FIRST_CHECK_SECONDS", (0.01, 0.01))
    monkeypatch.setattr(pruning, "CHECK_SECONDS", (0.01, 0.01))
    errors = iter([OperationalError("gone"), PruningStoppedError(), ZeroDivisionError()])
    real = daily.prune_if_due
    pruned = threading.Event()

    def prune_if_due() -> None:
        if error := next(errors, None):
            raise error
        real()
        pruned.set()

    monkeypatch.setattr(daily, "prune_if_due", prune_if_due)
    daily.start()
    assert pruned.wait(LONG)
    daily.stop()
    assert daily._thread is not None
    wait_until(lambda: not daily._thread.is_alive(), within=LONG)
    said = [each.getMessage() for each in caplog.records]
    assert said[:2] == ["pruning interrupted, trying again: gone", "pruning failed"]
    assert not Execution.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_scheduler_prunes_while_it_runs(
    task: Task, scheduler: Callable[..., Scheduler], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "FIRST_CHECK_SECONDS", (0.01, 0.01))
    Execution.objects.all().delete()
    old_execution(task, timezone.now(), 100)
    running = scheduler()

    def stop_when_pruned() -> None:
        try:
            wait_until(lambda: not Execution.objects.exists(), within=LONG)
        finally:
            running.stop()

    with elsewhere() as others:
        done = others.submit(stop_when_pruned)
        running.run()
        done.result()
    names = {thread.name for thread in threading.enumerate()}
    assert "pruning" not in names
