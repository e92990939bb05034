"""One tick of the engine: what it fires, runs, ends and leaves alone."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import InterfaceError, InternalError, OperationalError

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.engine import Tick, WorkerLostError
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.operations import run_task_now
from scheduled_tasks.registry import HandlerRegistry
from scheduled_tasks.scheduler import LEAST_SLEEP, Scheduler
from scheduled_tasks.signals import execution_finished, execution_started
from tests.processes import LONG

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.add")
    def add(*, a: int = 1, b: int = 2) -> int:
        return a + b

    @scheduled_task(name="jobs.fail")
    def fail() -> None:
        raise RuntimeError("no luck")

    @scheduled_task(name="jobs.leave")
    def leave() -> None:
        sys.exit(3)


def test_a_due_slot_runs_and_is_on_record(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes", payload={"b": 40})
    done = scheduler(worker_name="w1").tick(now + 5 * MINUTE)
    assert (done.fired, done.claimed, done.ended) == (1, 1, 1)
    execution = Execution.objects.get()
    assert execution.task == task
    assert execution.status == Execution.Status.SUCCESS
    assert execution.slot == execution.scheduled_for == now + 5 * MINUTE
    assert execution.trigger == Execution.Trigger.SCHEDULE
    assert execution.result == 41
    assert (execution.attempt, execution.worker_label) == (1, "w1")
    assert execution.started_at >= execution.claimed_at >= execution.created_at
    assert execution.finished_at >= execution.started_at
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 10 * MINUTE
    assert task.state.last_status == "success"
    assert task.state.execution_count == 1
    assert task.state.last_success_at == execution.finished_at


def test_nothing_due_is_an_idle_tick(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    make_task("sum", "jobs.add", "every 5 minutes")
    assert scheduler().tick(now + MINUTE).idle
    assert not Execution.objects.exists()


def test_the_clock_moves_on_from_the_slot_not_from_the_time_of_firing(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    worker = scheduler()
    for late in (5.9, 10.7, 15.2):
        worker.tick(now + late * MINUTE)
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 20 * MINUTE
    assert Execution.objects.count() == 3


def test_a_slot_that_has_run_is_not_run_again_when_an_edit_hits_it_once_more(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    scheduler().tick(now + 5 * MINUTE)
    TaskState.objects.filter(task=task).update(next_run_at=now + 5 * MINUTE)
    scheduler().tick(now + 5 * MINUTE)
    assert Execution.objects.count() == 1
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 10 * MINUTE


def test_a_task_switched_off_by_a_bulk_update_does_not_fire(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    Task.objects.update(enabled=False)
    assert scheduler().tick(now + 5 * MINUTE).fired == 0
    task.state.refresh_from_db()
    assert task.state.next_run_at is None


def test_a_bad_schedule_is_parked_with_its_reason_and_stops_no_other(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    bad = make_task("bad", "jobs.add", "every 5 minutes")
    make_task("good", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=bad.pk).update(schedule="every now and then")
    scheduler().tick(now + 5 * MINUTE)
    bad.state.refresh_from_db()
    assert bad.state.parked_at == now + 5 * MINUTE
    assert "every now and then" in bad.state.parked_reason
    assert bad.state.next_run_at is None
    assert Execution.objects.get().task_name == "good"


def test_a_task_whose_handler_is_gone_is_parked_and_its_slots_say_why(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    gone = make_task("gone", "jobs.add", "every 5 minutes")
    make_task("good", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=gone.pk).update(handler="jobs.removed")
    Execution.for_task(Task.objects.get(pk=gone.pk), trigger="schedule", now=now, slot=now).save()
    scheduler().tick(now + 5 * MINUTE)
    gone.state.refresh_from_db()
    assert gone.state.parked_reason == "No worker knows the handler 'jobs.removed'."
    skipped = Execution.objects.get(task=gone)
    assert (skipped.status, skipped.reason) == ("skipped", gone.state.parked_reason)
    assert Execution.objects.get(task_name="good").status == "success"


def test_a_handler_that_another_worker_knew_lately_parks_nothing(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("new", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=task.pk).update(handler="jobs.of_the_next_release")
    Worker.objects.create(
        label="newer",
        host="h",
        pid=1,
        handlers=["jobs.of_the_next_release"],
        heartbeat_at=now,
        started_at=now,
    )
    scheduler().tick(now + 5 * MINUTE)
    task.state.refresh_from_db()
    assert task.state.parked_at is None
    assert Execution.objects.get().status == "queued"
    scheduler().tick(now + 15 * MINUTE)
    task.state.refresh_from_db()
    assert task.state.parked_at is not None


def test_a_failure_is_on_record_with_its_cause(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("luckless", "jobs.fail", "every 5 minutes")
    worker = scheduler()
    worker.tick(now + 5 * MINUTE)
    worker.tick(now + 10 * MINUTE)
    first, second = Execution.objects.order_by("pk")
    assert first.status == "failed"
    assert first.error == "RuntimeError: no luck"
    assert first.error_category == "logic"
    assert 'raise RuntimeError("no luck")' in first.traceback
    assert "scheduled_tasks/runner.py" not in first.traceback
    assert first.error_fingerprint == second.error_fingerprint != ""
    assert first.failures == 1
    task.state.refresh_from_db()
    assert task.state.consecutive_failures == 2
    assert task.state.last_success_at is None


def test_a_handler_that_exits_ends_its_run_only(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    make_task("quitter", "jobs.leave", "every 5 minutes")
    scheduler().tick(now + 5 * MINUTE)
    assert Execution.objects.get().error == "SystemExit: 3"


def test_a_payload_is_checked_again_before_the_run(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=task.pk).update(payload={"a": "one", "c": 3})
    scheduler().tick(now + 5 * MINUTE)
    execution = Execution.objects.get()
    assert (execution.status, execution.error_category) == ("failed", "payload")
    assert "a:" in execution.error
    assert "c:" in execution.error


def test_what_a_handler_gets_is_its_own_slot_not_the_time(
    registry: HandlerRegistry, make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    seen: list[TaskContext] = []

    @scheduled_task(name="jobs.look")
    async def look(context: TaskContext, *, n: int = 0) -> None:
        seen.append(context)

    make_task("look", "jobs.look", "every 5 minutes", payload={"n": 7})
    scheduler().tick(now + 7 * MINUTE)
    [context] = seen
    assert context.scheduled_for == now + 5 * MINUTE
    assert (context.task_name, context.attempt, context.trigger) == ("look", 1, "catch_up")
    assert context.payload == {"n": 7}
    assert context.execution_id == Execution.objects.get().pk
    assert context.schedule == "every 5 minutes"


def test_higher_priority_runs_first_and_other_queues_are_left_alone(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    make_task("low", "jobs.add", "every 5 minutes", priority=-1)
    make_task("high", "jobs.add", "every 5 minutes", priority=5)
    make_task("elsewhere", "jobs.add", "every 5 minutes", queue="heavy")
    worker = scheduler(queues=["default"], concurrency=1)
    worker.tick(now + 5 * MINUTE)
    assert Execution.objects.get(status="success").task_name == "high"
    worker.tick(now + 5 * MINUTE)
    assert Execution.objects.filter(status="success").count() == 2
    assert Execution.objects.get(queue="heavy").status == "queued"
    scheduler(queues=["heavy"]).tick(now + 5 * MINUTE)
    assert Execution.objects.get(queue="heavy").status == "success"


def test_the_project_hears_of_starts_and_ends_even_if_a_receiver_raises(
    registry: HandlerRegistry, make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    heard: list[str] = []

    def started(*, context: TaskContext, **_: Any) -> None:
        heard.append(f"started {context.task_name}")
        raise ValueError("a receiver's own trouble")

    def finished(*, execution: Execution, **_: Any) -> None:
        heard.append(f"{execution.status} {execution.task_name}")

    make_task("sum", "jobs.add", "every 5 minutes")
    handler = registry.get("jobs.add").function
    execution_started.connect(started, sender=handler)
    execution_finished.connect(finished, sender=handler)
    try:
        scheduler().tick(now + 5 * MINUTE)
    finally:
        execution_started.disconnect(started, sender=handler)
        execution_finished.disconnect(finished, sender=handler)
    assert heard == ["started sum", "success sum"]


def test_run_now_queues_a_run_that_does_not_shift_the_schedule(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes", enabled=False)
    execution = run_task_now("sum", {"a": 5}, triggered_by="user:ada")
    assert (execution.status, execution.slot) == ("queued", None)
    scheduler().tick(execution.run_after)
    execution.refresh_from_db()
    assert (execution.status, execution.result) == ("success", 7)
    assert (execution.trigger, execution.triggered_by) == ("manual", "user:ada")
    task.state.refresh_from_db()
    assert task.state.next_run_at is None


def test_a_worker_that_was_given_up_does_not_go_on(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.tick(now)
    Worker.objects.update(state=Worker.State.LOST)
    with pytest.raises(WorkerLostError):
        worker.tick(now + MINUTE)


def test_a_signal_may_wake_the_loop_at_any_instant(scheduler: MakeScheduler) -> None:
    """A handler runs between any two steps of the sleep; with a lock in it, this would hang."""
    worker = scheduler()
    before = signal.signal(signal.SIGALRM, lambda *_: worker.alarm.ring())
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
    collect = Scheduler.collect

    def collect_later(worker: Scheduler) -> int:
        if trouble := next(troubles, None):
            raise trouble
        return collect(worker)

    make_task("sum", "jobs.add", "every 5 minutes")
    worker = scheduler(poll_interval=0.01)
    worker.tick(now)
    Execution.objects.fire(now + 5 * MINUTE, limit=1)
    worker.claim(now + 5 * MINUTE)
    monkeypatch.setattr(Scheduler, "collect", collect_later)
    worker.shut_down()
    assert Execution.objects.get().status == "success"
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert not worker.unfinished


def test_a_database_that_only_reads_is_waited_for(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL tells of it by an InternalError, after its server was made a standby."""
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
    monkeypatch.setattr(worker.heartbeat, "start", lambda: None)
    monkeypatch.setattr(worker.listener, "start", lambda: None)
    worker.run()
    assert [type(error) for error in failures] == [InternalError]


def test_a_beat_after_an_outage_wakes_the_loop(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.start(now)
    worker.note_beat(1)
    assert not worker.alarm.hush()
    worker.lose_sight()
    worker.note_beat(2)
    assert worker.alarm.hush()
    worker.wait_out(LONG)  # it is over at once


def test_nothing_else_wakes_the_loop_in_an_outage(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.start(now)
    worker.lose_sight()
    for _ in range(3):
        worker.alarm.ring()
    begun = time.monotonic()
    worker.wait_out(0.1)
    assert time.monotonic() - begun >= 0.1


def test_what_is_overdue_does_not_keep_the_loop_awake(
    scheduler: MakeScheduler, now: datetime
) -> None:
    """Messages that cannot be written while the database is away are overdue all the time."""
    worker = scheduler()
    worker.start(now)
    [executor] = worker.executor.executors.values()
    executor.messages_due = begun = time.monotonic()
    worker.sleep(LONG)
    assert LEAST_SLEEP <= time.monotonic() - begun < LONG


def test_an_outage_may_last_for_ever(scheduler: MakeScheduler) -> None:
    pauses = [scheduler().recover(OperationalError("gone"), tries) for tries in (1, 10, 10**6)]
    assert 0.25 <= pauses[0] <= 0.5
    assert all(15 <= pause <= 30 for pause in pauses[1:])


@pytest.mark.parametrize(
    "odd",
    [
        {"misfire_grace": 2**31 - 1},
        {"misfire_policy": "unknown", "overlap_policy": "unknown"},
        {"jitter": 2**31 - 1},
        {"starts_at": datetime.min.replace(tzinfo=UTC)},
        {"retry_delay": 2**31 - 1, "retry_max_delay": 2**31 - 1, "retry_backoff": 1e300},
        {"retry_backoff": 0.0},
        {"catch_up_limit": 2**31 - 1, "misfire_policy": "all"},
    ],
)
def test_values_that_only_a_bulk_update_can_have_written_stop_no_other_task(
    make_task: Make, scheduler: MakeScheduler, now: datetime, odd: dict[str, Any]
) -> None:
    bad = make_task("bad", "jobs.fail", "every 5 minutes", max_retries=3)
    make_task("good", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=bad.pk).update(**odd)
    worker = scheduler()
    worker.tick(now + 5 * MINUTE)
    worker.tick(now + 22 * MINUTE)
    ran = Execution.objects.filter(task_name="good", status="success").values_list(
        "slot", flat=True
    )
    assert list(ran.order_by("slot")) == [now + 5 * MINUTE, now + 20 * MINUTE]


@pytest.mark.parametrize("policy", ["misfire_policy", "overlap_policy"])
def test_a_policy_that_nobody_knows_parks_its_task(
    make_task: Make, scheduler: MakeScheduler, now: datetime, policy: str
) -> None:
    bad = make_task("bad", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=bad.pk).update(**{policy: "bogus"})
    scheduler().tick(now + 60 * MINUTE)
    bad.state.refresh_from_db()
    assert "policy 'bogus'" in bad.state.parked_reason
    assert not Execution.objects.exists()


def test_policies_that_cannot_be_followed_park_their_task(
    make_task: Make, scheduler: MakeScheduler, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(task: Task, lateness: timedelta) -> bool:
        if task.name == "bad":
            raise OverflowError("too large")
        return False

    monkeypatch.setattr(Task, "too_late", too_late)
    bad = make_task("bad", "jobs.add", "every 5 minutes")
    make_task("good", "jobs.add", "every 5 minutes")
    scheduler().tick(now + 5 * MINUTE)
    bad.state.refresh_from_db()
    assert bad.state.parked_reason == "Its policies cannot be followed: too large"
    assert Execution.objects.get().task_name == "good"
