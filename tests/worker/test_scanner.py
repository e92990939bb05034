"""The scan has a thread of its own, which never delays the loop and never ends the worker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.db.models.functions import Now

from scheduled_tasks.models import Lock, Worker
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from scheduled_tasks.monitoring.outbox.messages import has_new
from scheduled_tasks.worker import scanner
from scheduled_tasks.worker.scanner import LOCK_INTERVALS, SCAN_LOCK, ScanLock, Scanner
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import make_worker
from tests.support.processes import LONG

SECOND = timedelta(seconds=1)
#: So long that no thread is active by itself while a test waits for it.
INTERVAL = timedelta(minutes=10)

pytestmark = pytest.mark.django_db


class Conditions(ConditionScan):
    """Stands for the conditions: tells what was scanned, and may hang, fail or leave messages."""

    def __init__(self) -> None:
        super().__init__(watched=())
        self.scanned: SimpleQueue[datetime] = SimpleQueue()
        self.errors: list[Exception] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def run(self, now: datetime, *, using: str = "") -> None:
        self.scanned.put(now)
        assert self.goes_on.wait(LONG)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if self.errors:
            raise self.errors.pop(0)
        has_new.set()

    def next(self) -> datetime:
        return self.scanned.get(timeout=LONG)


class Watching:
    """What a test sees of a scanner: its conditions, and when its thread is done."""

    def __init__(self, worker: Worker) -> None:
        self.woken = threading.Semaphore(0)
        self.scanner = Scanner(worker, wake=self.woken.release, on_round=self.begin_round)
        self.conditions = self.scanner.conditions = Conditions()
        self.is_open: list[bool] = []
        self.rounds = threading.Semaphore(0)

    def begin_round(self) -> None:
        """Note whether the thread has left its connection open."""
        self.is_open.append(connection.connection is not None)
        self.rounds.release()

    def offer(self, *moments: datetime) -> None:
        for moment in moments:
            self.scanner.offer(moment)

    def wait_for_round(self) -> None:
        assert self.rounds.acquire(timeout=LONG)


@pytest.fixture(autouse=True)
def nothing_new(settings: Any) -> Iterator[None]:
    long = {"HEARTBEAT_INTERVAL": INTERVAL.total_seconds(), "LEASE": 3600}
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, **long}
    has_new.clear()
    yield
    has_new.clear()


@pytest.fixture
def watching(worker: Worker) -> Iterator[Watching]:
    watching = Watching(worker)
    yield watching
    watching.conditions.goes_on.set()
    watching.scanner.stop()
    if watching.scanner._thread is not None:
        watching.scanner._thread.join(LONG)


@pytest.fixture
def started(transactional_db: None, watching: Watching) -> Watching:
    """Return what is seen of a scanner whose thread has begun."""
    watching.scanner.start()
    watching.wait_for_round()
    return watching


def test_without_a_thread_an_offer_scans(watching: Watching, now: datetime) -> None:
    watching.offer(now, now + INTERVAL - SECOND)
    assert watching.conditions.scanned.empty()
    watching.offer(now + INTERVAL, now + INTERVAL + SECOND)
    assert watching.conditions.next() == now + INTERVAL
    assert watching.conditions.scanned.empty()


def test_a_scan_waits_after_an_outage(watching: Watching, now: datetime) -> None:
    watching.offer(now)
    watching.scanner.start_over()
    watching.offer(now + 2 * INTERVAL)
    assert watching.conditions.scanned.empty()
    watching.offer(now + 3 * INTERVAL)
    assert watching.conditions.next() == now + 3 * INTERVAL


def test_what_was_found_before_a_gap_is_forgotten(
    watching: Watching, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scans in a row confirm a condition; with an hour between them they do not."""
    forgotten: list[str] = []
    monkeypatch.setattr(watching.conditions, "forget", lambda: forgotten.append("outage"))
    watching.offer(now, now + INTERVAL)
    assert forgotten == []
    watching.scanner.start_over()
    watching.offer(now + 2 * INTERVAL, now + 3 * INTERVAL)
    assert forgotten == ["outage"]
    Lock.objects.filter(name=SCAN_LOCK).update(token="another's")
    watching.offer(now + 4 * INTERVAL)
    Lock.objects.filter(name=SCAN_LOCK).delete()
    watching.offer(now + 8 * INTERVAL)
    assert forgotten == ["outage", "outage"]


def test_an_offer_that_is_gone_ends_no_thread(started: Watching) -> None:
    started.scanner._offered.set()  # and the loop starts over before the thread has looked
    started.wait_for_round()
    assert started.scanner._thread is not None
    assert started.scanner._thread.is_alive()


def test_a_stopping_thread_takes_no_offer(started: Watching, now: datetime) -> None:
    started.scanner._stop.set()
    started.offer(now, now + INTERVAL)
    assert started.scanner._thread is not None
    started.scanner._thread.join(LONG)
    assert started.conditions.scanned.empty()


def test_a_long_scan_is_followed_by_a_rest(
    started: Watching, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = count(step=INTERVAL.total_seconds() + 1)
    monkeypatch.setattr(scanner, "monotonic", lambda: next(seconds))
    started.offer(now, now + INTERVAL)
    started.conditions.next()
    started.wait_for_round()
    started.offer(now + 2 * INTERVAL)
    assert started.conditions.scanned.empty()
    started.offer(now + 3 * INTERVAL)
    assert started.conditions.next() == now + 3 * INTERVAL


def test_the_thread_takes_the_newest_round(started: Watching, now: datetime) -> None:
    started.conditions.goes_on.clear()
    started.offer(now, now + INTERVAL)
    assert started.conditions.next() == now + INTERVAL
    started.offer(now + 2 * INTERVAL, now + 3 * INTERVAL, now + 4 * INTERVAL)
    started.conditions.goes_on.set()
    assert started.conditions.next() == now + 4 * INTERVAL
    assert started.conditions.scanned.empty()


def test_messages_of_a_scan_wake_the_loop(started: Watching, now: datetime) -> None:
    started.offer(now, now + INTERVAL)
    assert started.woken.acquire(timeout=LONG)
    assert has_new.is_set()


def test_an_outage_is_logged_once_and_over(
    started: Watching, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    gone = OperationalError("gone")
    started.conditions.errors = [gone, gone, ZeroDivisionError()]
    started.offer(now)
    for number in range(1, 6):
        started.offer(now + number * INTERVAL)
        assert started.conditions.next() == now + number * INTERVAL
        started.wait_for_round()
        started.offer(now + number * INTERVAL + SECOND)
    assert started.conditions.scanned.empty()
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "the scan for alerts was interrupted and is tried again: gone",
        "the scan for alerts failed",
    ]
    # The scan that works holds the lock and keeps its connection.
    assert started.is_open == [False, False, False, True, True, True]


def test_who_does_not_scan_keeps_no_connection(started: Watching, now: datetime) -> None:
    Lock.objects.acquire(Lock(name=SCAN_LOCK, token="other", holder="other"), lease=60)
    started.offer(now, now + INTERVAL)
    started.wait_for_round()
    assert started.conditions.scanned.empty()
    assert started.is_open == [False, False]


def test_a_clock_that_went_back_stops_no_scan(worker: Worker, now: datetime) -> None:
    lost, other = ScanLock(make_worker("lost", now)), ScanLock(worker)
    assert lost.acquire(now)
    assert not other.acquire(now)
    Lock.objects.update(expires_at=Now() + timedelta(hours=1))
    assert other.acquire(now + LOCK_INTERVALS * INTERVAL)
    assert not lost.acquire(now)


def test_another_worker_scans_after_a_stop(
    started: Watching, worker: Worker, now: datetime
) -> None:
    second = Watching(make_worker("second", now))
    started.offer(now, now + INTERVAL)
    started.wait_for_round()
    second.offer(now, now + INTERVAL)
    assert second.conditions.scanned.empty()
    started.scanner.stop()
    assert not any(thread.name == "scan" for thread in threading.enumerate())
    second.offer(now + INTERVAL + LOCK_INTERVALS * INTERVAL)
    assert not second.conditions.scanned.empty()


def test_a_stop_does_not_wait_for_a_scan(
    started: Watching, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduled_tasks.worker.scanner.MAX_STOP_SECONDS", 0.01)
    started.conditions.goes_on.clear()
    started.offer(now, now + INTERVAL)
    started.conditions.next()
    started.scanner.stop()
    assert not Lock.objects.filter(name=SCAN_LOCK).exists()


def test_a_lock_that_stays_expires_by_itself(
    watching: Watching, now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fail(*_: Any) -> None:
        raise OperationalError("gone")

    watching.offer(now, now + INTERVAL)
    monkeypatch.setattr(Lock.objects, "release", fail)
    watching.scanner.stop()
    assert "another worker scans when the lock has expired: gone" in caplog.text
    assert not watching.scanner.lock.held


def test_an_outage_withdraws_what_was_offered(started: Watching, now: datetime) -> None:
    started.conditions.goes_on.clear()
    started.offer(now, now + INTERVAL)
    started.conditions.next()
    started.offer(now + 2 * INTERVAL)
    started.scanner.start_over()
    started.conditions.goes_on.set()
    started.wait_for_round()
    started.wait_for_round()
    assert started.conditions.scanned.empty()


def test_a_lock_that_is_lost_is_asked_for(watching: Watching, now: datetime) -> None:
    watching.offer(now, now + INTERVAL)
    watching.conditions.next()
    Lock.objects.update(token="other")
    for number in range(2, 2 + LOCK_INTERVALS):
        watching.offer(now + number * INTERVAL)
    assert watching.conditions.scanned.empty()
    Lock.objects.all().delete()
    watching.offer(now + (2 + 2 * LOCK_INTERVALS) * INTERVAL)
    assert not watching.conditions.scanned.empty()


def test_a_scan_that_fails_lets_rollups_fold(
    watching: Watching, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded: list[datetime] = []
    monkeypatch.setattr(watching.scanner.folding, "run", folded.append)
    watching.conditions.errors = [OperationalError("gone")]
    watching.offer(now, now + INTERVAL)
    assert folded == [now + INTERVAL]


@pytest.mark.usefixtures("transactional_db", "registry")
def test_a_scheduler_scans_in_a_thread(
    scheduler: Callable[..., Scheduler], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "HEARTBEAT_INTERVAL": 0.01}
    running = scheduler()
    scanned: list[str] = []

    def run(scan: ConditionScan, now: datetime) -> None:
        scanned.append(threading.current_thread().name)
        running.stop()

    monkeypatch.setattr(ConditionScan, "run", run)
    running.run()
    assert set(scanned) == {"scan"}
    assert not Lock.objects.filter(name=SCAN_LOCK).exists()
    assert running.engine.watchdog.scans.active_at is not None


@pytest.mark.usefixtures("registry")
def test_a_tick_by_hand_scans_itself(
    scheduler: Callable[..., Scheduler], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand = scheduler()
    scanned: list[datetime] = []
    monkeypatch.setattr(ConditionScan, "run", lambda self, now: scanned.append(now))
    for moment in (now, now + INTERVAL, now + INTERVAL + SECOND):
        by_hand.tick(moment)
    assert scanned == [now + INTERVAL]
