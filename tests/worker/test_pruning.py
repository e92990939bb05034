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
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Execution, Lock, Task, Worker
from scheduled_tasks.operations import pruning as operations
from scheduled_tasks.worker import pruning
from scheduled_tasks.worker.pruning import LOCK, DailyPruning, PruningStoppedError
from scheduled_tasks.worker.scheduler import Scheduler
from tests.concurrency.beside import elsewhere
from tests.monitoring.fleet import make_scheduler
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
    """Return the pruning of a worker, beside a scheduler that knows the handler."""
    make_scheduler(now)
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


def test_a_clock_that_went_back_prunes_still(daily: DailyPruning, task: Task) -> None:
    daily.prune_if_due()
    pass_by(timedelta(days=-365))
    old_execution(task, daily.now(), 101)
    daily.prune_if_due()
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


def test_a_scheduled_task_does_it_instead(daily: DailyPruning, task: Task, make_task: Make) -> None:
    make_task("prune-executions", NOTHING, "@daily")
    daily.prune_if_due()
    assert Execution.objects.exists()


def disable(task: Task, now: datetime) -> None:
    task.enabled = False
    task.save(now=now)


def leave_to_people(task: Task, now: datetime) -> None:
    task.schedule = ""
    task.save(now=now)


def forget_the_handler(task: Task, now: datetime) -> None:
    Task.objects.filter(pk=task.pk).update(handler="jobs.of_another_release")


def park_it(task: Task, now: datetime) -> None:
    park(task.state, "Its schedule cannot be followed.", now, using="default")


@pytest.mark.parametrize("change", [disable, leave_to_people, forget_the_handler, park_it])
def test_a_task_that_never_runs_prunes_nothing(
    daily: DailyPruning,
    task: Task,
    make_task: Make,
    now: datetime,
    change: Callable[[Task, datetime], None],
) -> None:
    change(make_task("prune-executions", NOTHING, "@daily"), now)
    daily.prune_if_due()
    assert not Execution.objects.exists()


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


@pytest.mark.parametrize(("work", "rest"), [(0.1, 0.9), (600, 60)])
def test_it_rests_longer_than_it_works(
    daily: DailyPruning, monkeypatch: pytest.MonkeyPatch, work: float, rest: float
) -> None:
    rests: list[float] = []

    def wait(seconds: float) -> bool:
        rests.append(seconds)
        return False

    monkeypatch.setattr(daily._stop, "wait", wait)
    daily._acquire()
    daily._rest(work)
    assert rests == [pytest.approx(rest)]


class Uploads:
    """An archive whose uploads take their time: the lock and the pruning see it pass."""

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self.uploaded = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.uploaded * self.minutes * 60

    def save_executions(self, *_: Any) -> int:
        self.uploaded += 1
        if Lock.objects.filter(name=LOCK).exists():
            pass_by(timedelta(minutes=self.minutes))
        self.meanwhile()
        return 1


@pytest.fixture
def uploads(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Uploads]:
    """Return a maker of archives with a file for each execution, uploaded in these minutes."""
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "ARCHIVE_STORAGE": "default"}
    monkeypatch.setattr(pruning, "REST_FACTOR", 0)
    monkeypatch.setattr(operations, "EXECUTIONS_PER_FILE", 1)

    def make(minutes: float) -> Uploads:
        archive = Uploads(minutes)
        monkeypatch.setattr(operations, "Archive", lambda *_, **__: archive)
        return archive

    return make


@pytest.mark.parametrize("minutes", [2, 59])
def test_nobody_takes_over_during_an_upload(
    task: Task,
    worker: Worker,
    now: datetime,
    uploads: Callable[[float], Uploads],
    minutes: float,
) -> None:
    old_execution(task, now, 101)
    archive = uploads(minutes)
    daily = DailyPruning(worker, lambda: now, monotonic=archive.monotonic)
    another = DailyPruning(make_worker("second", now), lambda: now)
    archive.meanwhile = another.prune_if_due
    daily.prune_if_due()
    assert archive.uploaded == 2, "the other one has uploaded nothing"
    assert not Execution.objects.exists()


def test_what_lost_the_lock_deletes_nothing(
    task: Task, worker: Worker, now: datetime, uploads: Callable[[float], Uploads]
) -> None:
    archive = uploads(61)
    daily = DailyPruning(worker, lambda: now, monotonic=archive.monotonic)
    another = DailyPruning(make_worker("second", now), lambda: now)
    archive.meanwhile = lambda: another._acquire() or pytest.fail("the lock was held for too long")
    with pytest.raises(PruningStoppedError):
        daily.prune_if_due()
    assert Execution.objects.exists()
    assert Lock.objects.get(name=LOCK).token == another._lock.token


def test_the_lock_is_not_renewed_all_the_time(worker: Worker, now: datetime) -> None:
    moments = iter([0.0, 60.0, 61.0, 61.0, 62.0])
    daily = DailyPruning(worker, lambda: now, monotonic=lambda: next(moments))
    daily._acquire()
    Lock.objects.filter(name=LOCK).update(token="another")
    daily._rest(0)
    with pytest.raises(PruningStoppedError):
        daily._rest(0)


def test_a_stopping_worker_leaves_the_rest(daily: DailyPruning, task: Task, now: datetime) -> None:
    daily._stop.set()
    with pytest.raises(PruningStoppedError):
        daily.prune_if_due()
    assert Execution.objects.exists()
    another = DailyPruning(make_worker("second", now), lambda: now)
    another.prune_if_due()
    assert not Execution.objects.exists()


def test_a_dead_worker_is_replaced_an_hour_later(
    daily: DailyPruning, task: Task, now: datetime
) -> None:
    daily._acquire()  # and then its process dies
    another = DailyPruning(make_worker("second", now), lambda: now)
    another.prune_if_due()
    assert Execution.objects.exists()
    pass_by(timedelta(hours=1))
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
