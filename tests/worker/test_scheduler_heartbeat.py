"""The dead man's switch: a service hears that a scheduler works, and only while one does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.lifecycle import lookahead
from scheduled_tasks.models import Lock, Worker
from scheduled_tasks.testing import TaskClock
from scheduled_tasks.worker.scheduler import Scheduler
from scheduled_tasks.worker.scheduler_heartbeat import (
    LEASE_SECONDS,
    LOCK_NAME,
    RETRY_SECONDS,
    RETRY_SECONDS_AFTER_FAILURE,
    SchedulerHeartbeat,
)
from tests.monitoring.heartbeats.service import Service, running_service
from tests.support.processes import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

MakeScheduler = Callable[..., Scheduler]
RETRY = timedelta(seconds=RETRY_SECONDS)


@pytest.fixture
def service(settings: LazySettings) -> Iterator[Service]:
    """Run the service whose address is HEARTBEAT_URL."""
    with running_service() as service:
        options = {"OUTGOING_ALLOW": ["127.0.0.1"], "HEARTBEAT_URL": service.url}
        settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, **options}
        yield service


def test_a_complete_round_is_a_sign_of_life(
    scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    worker = scheduler()
    worker.tick(now)
    wait_for(worker)
    [ping] = service.pings
    assert (ping.kind, ping.run) == ("success", None)


def test_one_worker_sends_for_all(
    scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    workers = [scheduler(worker_name=name) for name in "abc"]
    for worker in workers:
        worker.tick(now)
        wait_for(worker)
    assert len(service.pings) == 1


def test_the_next_minute_has_one_of_its_own(
    scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    first, second = scheduler(), scheduler()
    for worker in (first, second):
        worker.tick(now)
        wait_for(worker)
    end_the_lease()
    # Another worker than before: nothing depends on the first one.
    for moment in (now + RETRY / 2, now + RETRY):
        second.tick(moment)
        wait_for(second)
    assert len(service.pings) == 2


def test_the_lease_is_a_minute_of_the_database(
    scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    worker = scheduler()
    worker.tick(now)
    wait_for(worker)
    in_time = Lock.objects.filter(name=LOCK_NAME, expires_at__lte=Now() + timedelta(seconds=60))
    assert in_time.filter(expires_at__gt=Now() + timedelta(seconds=LEASE_SECONDS - LONG)).exists()


def test_a_clock_that_went_back_silences_nothing(worker: Worker) -> None:
    """An hour of silence would be a false alarm."""
    heartbeat = SchedulerHeartbeat(worker)
    assert [heartbeat.acquire(), heartbeat.acquire()] == [True, False]
    Lock.objects.update(expires_at=Now() + timedelta(hours=1, seconds=LEASE_SECONDS))
    assert [heartbeat.acquire(), heartbeat.acquire()] == [True, False]


def test_a_failed_round_is_no_sign_of_life(
    scheduler: MakeScheduler,
    now: datetime,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("the database is away")

    worker = scheduler()
    monkeypatch.setattr(lookahead, "next_work_times", fail)
    with pytest.raises(OperationalError):
        worker.tick(now)
    wait_for(worker)
    assert service.requests == []


def test_a_service_that_hangs_slows_nothing(
    scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    answers, asked = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        answers.wait(LONG)

    service.on_request = hang
    worker = scheduler()
    worker.tick(now)
    assert asked.wait(LONG)
    # It has not answered yet; no second request is made meanwhile.
    end_the_lease()
    worker.tick(now + RETRY)
    assert worker.engine.scheduler_heartbeat.is_sending
    assert len(service.requests) == 1
    answers.set()
    wait_for(worker)
    worker.tick(now + 2 * RETRY)
    wait_for(worker)
    assert len(service.pings) == 2


def test_who_cannot_send_lets_others_do_it(
    scheduler: MakeScheduler,
    now: datetime,
    service: Service,
    caplog: pytest.LogCaptureFixture,
) -> None:
    service.answers = [(500, b"")]
    cut_off, other = scheduler(), scheduler()
    cut_off.tick(now)
    wait_for(cut_off)
    assert "the heartbeat of the scheduler could not be sent" in caplog.text
    assert str(service.check) not in caplog.text
    end_the_lease()
    cut_off.tick(now + RETRY)
    assert not cut_off.engine.scheduler_heartbeat.is_sending
    other.tick(now + RETRY)
    wait_for(other)
    assert len(service.pings) == 1
    end_the_lease()
    cut_off.tick(now + timedelta(seconds=RETRY_SECONDS_AFTER_FAILURE))
    wait_for(cut_off)
    assert len(service.pings) == 2


def test_an_unexpected_error_is_logged(
    scheduler: MakeScheduler,
    now: datetime,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(url: str) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("scheduled_tasks.worker.scheduler_heartbeat.send_sign_of_life", fail)
    worker = scheduler()
    worker.tick(now)
    wait_for(worker)
    assert "RuntimeError: a bug" in caplog.text


def test_without_an_address_nothing_is_asked(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.tick(now)
    with CaptureQueriesContext(connection) as captured:
        worker.tick(now + timedelta(seconds=1))
    assert not any("scheduled_tasks_lock" in query["sql"] for query in captured)
    assert worker.engine.scheduler_heartbeat._thread is None


def test_clocks_of_tests_send_nothing(now: datetime, service: Service) -> None:
    TaskClock(now).move_by(minutes=5)
    assert service.requests == []
    assert not Lock.objects.filter(name=LOCK_NAME).exists()


def wait_for(worker: Scheduler) -> None:
    """Wait until the request of a worker has ended, if it made one."""
    if thread := worker.engine.scheduler_heartbeat._thread:
        thread.join(LONG)
        assert not thread.is_alive()


def end_the_lease() -> None:
    assert Lock.objects.filter(name=LOCK_NAME).update(expires_at=Now() - timedelta(seconds=1)) == 1
