"""The loop around the ticks: when it wakes, how long it sleeps, how it waits out outages."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, InternalError, OperationalError, connection

from scheduled_tasks.executors.base import NEVER
from scheduled_tasks.lifecycle import firing
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.worker.engine import NO_LEAD, Engine, NextWork, Tick
from scheduled_tasks.worker.heartbeat import Heartbeat
from scheduled_tasks.worker.result_writer import ResultWriter
from scheduled_tasks.worker.scheduler import (
    FIRE_LEAD,
    MIN_SLEEP_SECONDS,
    RECHECK_SECONDS,
    Scheduler,
)
from tests.support.attempts import NOTHING
from tests.support.processes import LONG

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
INSTANT = timedelta(microseconds=1)
Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[datetime, timedelta]]:
    """Return the arguments of all calls of ``Clock.wait``."""
    asked: list[tuple[datetime, timedelta]] = []
    monkeypatch.setattr(
        "scheduled_tasks.runtime.clock.Clock.wait", lambda clock, *waited: asked.append(waited)
    )
    return asked


def test_slots_are_decided_early_and_committed_on_time(
    make_task: Make,
    scheduler: MakeScheduler,
    now: datetime,
    waits: list[tuple[datetime, timedelta]],
) -> None:
    make_task("one", NOTHING, "every 5 minutes")
    worker = scheduler()
    slot = now + 5 * MINUTE
    assert worker.tick(slot - FIRE_LEAD - INSTANT, lead=FIRE_LEAD).idle
    assert waits == []
    done = worker.tick(slot - FIRE_LEAD, lead=FIRE_LEAD)
    assert (done.fired, done.claimed) == (1, 1)
    assert waits == [(slot, FIRE_LEAD)]
    run = Execution.objects.get()
    assert run.slot == run.claimed_at == run.created_at == slot
    assert TaskState.objects.get().next_run_at == slot + 5 * MINUTE


def test_a_due_slot_is_committed_at_once(
    make_task: Make,
    scheduler: MakeScheduler,
    now: datetime,
    waits: list[tuple[datetime, timedelta]],
) -> None:
    make_task("one", NOTHING, "every 5 minutes")
    assert scheduler().tick(now + 5 * MINUTE, lead=FIRE_LEAD).fired == 1
    assert waits == []


def test_only_slots_are_decided_early(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    """A waiting run starts on time, and a later slot is not fired with an earlier one."""
    slot = now + 5 * MINUTE
    make_task("early", NOTHING, "every 5 minutes")
    late = make_task("late", NOTHING, "every 5 minutes")
    TaskState.objects.filter(task=late).update(next_run_at=slot + FIRE_LEAD / 2)
    Execution.for_task(late, trigger="manual", now=slot - FIRE_LEAD / 2).save()
    scheduler().tick(slot - FIRE_LEAD, lead=FIRE_LEAD)
    rows = Execution.objects.order_by("pk").values_list("task_name", "trigger", "claimed_at")
    assert list(rows) == [("late", "manual", slot), ("early", "schedule", slot)]


def test_the_loop_wakes_early_for_slots_only(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    worker = scheduler(poll_interval=LONG)
    monkeypatch.setattr(worker.engine.clock, "now", lambda: now)
    second = timedelta(seconds=1)
    # A database that cannot lock single rows would keep everybody waiting meanwhile.
    ahead = FIRE_LEAD if connection.features.has_select_for_update else NO_LEAD
    worker.engine.next_work = NextWork(slot=now + second)
    assert worker.seconds_until_next(Tick(), now) == pytest.approx(1 - ahead.total_seconds())
    worker.engine.next_work = NextWork(slot=now + 2 * second, run=now + second)
    assert worker.seconds_until_next(Tick(), now) == pytest.approx(1)


def test_work_due_during_the_tick_ends_the_sleep(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, now: datetime
) -> None:
    worker = scheduler()
    monkeypatch.setattr(worker.engine.clock, "now", lambda: now + MINUTE)
    worker.engine.next_work = NextWork(slot=now + worker.lead + INSTANT)
    assert worker.seconds_until_next(Tick(), now) == 0


@pytest.mark.parametrize("next_work", ["slot", "run"])
def test_locked_work_is_tried_again_soon(
    scheduler: MakeScheduler, now: datetime, next_work: str
) -> None:
    """It was due at the tick, which claimed nothing. At once would keep the loop awake."""
    worker = scheduler()
    worker.engine.next_work = NextWork(**{next_work: now})
    shortest, longest = RECHECK_SECONDS
    assert shortest <= worker.seconds_until_next(Tick(), now) <= longest
    assert worker.seconds_until_next(Tick(fired=1), now) == 0


def test_a_signal_may_wake_the_loop_anywhere(scheduler: MakeScheduler) -> None:
    """A signal handler may run inside the sleep; if the sleep used a lock, this would hang."""
    worker = scheduler()
    before = signal.signal(signal.SIGALRM, lambda *_: worker.engine.waiter.wake())
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        for _ in range(1_000):
            worker.sleep(0.0005)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.django_db(transaction=True)
def test_an_outage_while_stopping_is_waited_out(
    make_task: Make, scheduler: MakeScheduler, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles = iter([OperationalError("gone"), InterfaceError("still gone")])
    write = Engine.write_results

    def write_later(engine: Engine) -> int:
        if trouble := next(troubles, None):
            raise trouble
        return write(engine)

    make_task("one", NOTHING, "every 5 minutes")
    worker = scheduler(poll_interval=0.01)
    worker.tick(now)
    firing.fire(now + 5 * MINUTE, limit=1)
    worker.engine.claim(now + 5 * MINUTE)
    monkeypatch.setattr(Engine, "write_results", write_later)
    worker.shut_down()
    assert Execution.objects.get().status == "success"
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert not worker.unfinished


def test_a_read_only_database_is_waited_for(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL raises an InternalError after its server became a standby."""
    worker = scheduler(poll_interval=0.01)
    troubles = iter([InternalError("cannot execute UPDATE in a read-only transaction")])
    failures: list[Exception] = []

    def tick(now: datetime, **options: Any) -> Tick:
        if trouble := next(troubles, None):
            raise trouble
        worker.stop()
        return Tick()

    def recover(error: Exception, count: int) -> float:
        failures.append(error)
        return 0

    monkeypatch.setattr(worker, "tick", tick)
    monkeypatch.setattr(worker, "recover", recover)
    monkeypatch.setattr(worker.engine.heartbeat, "start", lambda: None)
    monkeypatch.setattr(worker.listener, "start", lambda: None)
    worker.run()
    assert [type(error) for error in failures] == [InternalError]


@pytest.mark.parametrize("run", ["run", "run_once"])
def test_the_loop_keeps_no_queries_under_debug(
    scheduler: MakeScheduler, settings: Any, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    settings.DEBUG = True
    worker = scheduler(poll_interval=0.01)
    tick, kept = worker.tick, []

    def ticked(now: datetime, **options: Any) -> Tick:
        kept.append(len(connection.queries_log))
        if len(kept) == 5:
            worker.stop()
        tick(now, **options)
        return Tick(ended=1)

    monkeypatch.setattr(worker, "tick", ticked)
    monkeypatch.setattr(worker.engine.heartbeat, "start", lambda: None)
    monkeypatch.setattr(worker.listener, "start", lambda: None)
    getattr(worker, run)()
    assert len(set(kept[1:])) == 1, kept


def test_a_beat_after_an_outage_wakes_the_loop(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.engine.start(now)
    worker.engine.on_beat(1)
    assert not worker.engine.waiter.clear()
    worker.engine.on_connection_lost()
    worker.engine.on_beat(2)
    assert worker.engine.waiter.clear()
    worker.wait_for_database(LONG)  # it is over at once


def test_a_lost_workers_beat_wakes_the_loop(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.engine.start(now)
    Worker.objects.update(state=Worker.State.LOST)
    worker.engine.heartbeat.beat(now)
    assert worker.engine.waiter.clear()


def test_a_worker_lost_in_an_outage_stops_waiting(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.engine.start(now)
    worker.engine.on_connection_lost()
    Worker.objects.update(state=Worker.State.LOST)
    worker.engine.heartbeat.beat(now)
    begun = time.monotonic()
    worker.wait_for_database(LONG)
    assert time.monotonic() - begun < LONG / 2


def test_a_worker_full_of_messages_claims_nothing(
    make_task: Make, scheduler: MakeScheduler, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_task("sum", "jobs.nothing", "every 5 minutes")
    worker = scheduler()
    worker.tick(now)
    [executor] = worker.engine.executor.executors.values()
    executor.messages_due = 0.0
    with monkeypatch.context() as full:
        full.setattr(ResultWriter, "full", True)
        assert worker.tick(now + 5 * MINUTE).claimed == 0
        assert worker.engine.messages_due == NEVER
    assert worker.engine.messages_due == 0.0
    assert worker.tick(now + 5 * MINUTE).claimed == 1


def test_nothing_else_wakes_the_loop_in_an_outage(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.engine.start(now)
    worker.engine.on_connection_lost()
    for _ in range(3):
        worker.engine.waiter.wake()
    begun = time.monotonic()
    worker.wait_for_database(0.1)
    assert time.monotonic() - begun >= 0.1


def test_overdue_messages_let_the_loop_sleep(scheduler: MakeScheduler, now: datetime) -> None:
    """Messages are overdue during a whole outage."""
    worker = scheduler()
    worker.engine.start(now)
    [executor] = worker.engine.executor.executors.values()
    executor.messages_due = begun = time.monotonic()
    worker.sleep(LONG)
    assert MIN_SLEEP_SECONDS <= time.monotonic() - begun < LONG


@pytest.mark.parametrize(("beats", "longest"), [(True, 30), (False, 5)])
def test_an_outage_may_last_for_ever(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, *, beats: bool, longest: int
) -> None:
    """Without a heartbeat nothing wakes the loop when the outage is over."""
    monkeypatch.setattr(Heartbeat, "running", beats)
    pauses = [scheduler().recover(OperationalError("gone"), tries) for tries in (1, 10, 10**6)]
    assert 0.25 <= pauses[0] <= 0.5
    assert all(longest / 2 <= pause <= longest for pause in pauses[1:])
