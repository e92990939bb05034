"""One worker folds, some seconds at a time, and goes on where it has stopped."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db.models.functions import Now

from scheduled_tasks.models import Lock, Rollup, RollupEntry, Worker
from scheduled_tasks.monitoring.rollups import expiry, folding
from scheduled_tasks.worker.folding import (
    CLEANUP_SECONDS,
    FOLD_SECONDS,
    LATE_SECONDS,
    LOCK,
    MAX_FOLDING_SECONDS,
    MAX_LATE_FOLDING_SECONDS,
    RollupFolding,
)
from tests.monitoring.rollups.entries import append
from tests.support.attempts import make_worker

pytestmark = pytest.mark.django_db

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


class Folding:
    """A worker that folds by a clock which every look moves on."""

    def __init__(self, worker: Worker) -> None:
        self.time = 0.0
        self.seconds_per_look = 0.0
        self.stopped = False
        self.folding = RollupFolding(
            worker, is_stopped=lambda: self.stopped, monotonic=self.monotonic
        )
        self.run = self.folding.run

    def monotonic(self) -> float:
        self.time += self.seconds_per_look
        return self.time


@pytest.fixture
def first(worker: Worker) -> Folding:
    return Folding(worker)


@pytest.fixture
def second(now: datetime) -> Folding:
    return Folding(make_worker("second", now))


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "ENTRIES_PER_TRANSACTION", 1)
    monkeypatch.setattr(expiry, "BATCH_SIZE", 1)


def days() -> list[int]:
    rows = Rollup.objects.filter(resolution="day", task_id__gt=0).order_by("start")
    return list(rows.values_list("success", flat=True))


def test_one_worker_folds_once_a_minute(first: Folding, second: Folding, now: datetime) -> None:
    append(now)
    first.run(now)
    append(now)
    second.run(now)
    first.run(now + (FOLD_SECONDS - 1) * SECOND)
    assert (days(), RollupEntry.objects.count()) == ([1], 1)
    assert Lock.objects.get().holder == "first"
    Lock.objects.all().delete()
    first.run(now + FOLD_SECONDS * SECOND)
    assert days() == [2]


def test_a_clock_that_went_back_folds_still(first: Folding, second: Folding, now: datetime) -> None:
    append(now)
    first.run(now)
    append(now)
    Lock.objects.update(expires_at=Now() + timedelta(hours=1))
    second.run(now)
    assert (days(), Lock.objects.get().holder) == ([2], "second")


def test_nothing_to_fold_takes_no_lock(first: Folding, now: datetime) -> None:
    first.run(now)
    assert not Lock.objects.exists()


@pytest.mark.usefixtures("one_by_one")
def test_a_backlog_is_folded_round_by_round(first: Folding, now: datetime) -> None:
    append(now, times=5)
    first.seconds_per_look = MAX_FOLDING_SECONDS / 2
    first.run(now)
    assert (days(), first.folding.unfinished) == ([2], True)
    first.run(now + 5 * SECOND)
    assert (days(), first.folding.unfinished) == ([4], True)
    first.seconds_per_look = 0
    first.run(now + 10 * SECOND)
    assert (days(), first.folding.unfinished) == ([5], False)


@pytest.mark.usefixtures("one_by_one")
def test_an_old_backlog_gets_more_time(first: Folding, now: datetime) -> None:
    append(now, times=10)
    first.seconds_per_look = MAX_FOLDING_SECONDS
    first.run(now)
    first.run(now + (LATE_SECONDS - 1) * SECOND)
    assert days() == [2]
    first.run(now + LATE_SECONDS * SECOND)
    assert days() == [2 + MAX_LATE_FOLDING_SECONDS / MAX_FOLDING_SECONDS]


@pytest.mark.usefixtures("one_by_one")
def test_a_lost_lock_ends_the_backlog(first: Folding, now: datetime) -> None:
    append(now, times=3)
    first.seconds_per_look = MAX_FOLDING_SECONDS
    first.run(now)
    Lock.objects.update(token="other")
    first.run(now + SECOND)
    assert (days(), first.folding.unfinished) == ([1], False)


@pytest.mark.usefixtures("one_by_one")
def test_a_stopping_worker_leaves_the_rest(first: Folding, now: datetime) -> None:
    append(now, times=3)
    first.stopped = True
    first.run(now)
    assert days() == [1]


@pytest.mark.usefixtures("one_by_one")
def test_a_backlog_keeps_nothing_that_is_old(first: Folding, now: datetime) -> None:
    for old in range(3):
        append(now - (1100 + old) * DAY)
    folding.fold_all()
    append(now, times=9)
    first.seconds_per_look = 0.01
    first.run(now)
    assert days() == [9]
    assert Lock.objects.filter(name=LOCK).exists()


def test_totals_are_looked_through_once_a_day(first: Folding, now: datetime) -> None:
    totals = Rollup.objects.filter(resolution="all", task_id__gt=0)
    for seconds, left in ((0, 0), (FOLD_SECONDS, 1), (CLEANUP_SECONDS, 0)):
        append(now)
        Lock.objects.all().delete()
        first.run(now + seconds * SECOND)
        assert totals.count() == left
