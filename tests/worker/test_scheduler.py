"""One tick of the engine: what it fires, runs, ends and leaves alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import (
    Execution,
    Lock,
    OnceKey,
    Task,
    TaskChange,
    TaskState,
    Worker,
)
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.signals import execution_finished, execution_started
from scheduled_tasks.worker.engine import WorkerLostError
from scheduled_tasks.worker.scheduler import Scheduler

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
    assert task.state.last_success_at == execution.started_at


def test_nothing_due_is_an_idle_tick(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    make_task("sum", "jobs.add", "every 5 minutes")
    assert scheduler().tick(now + MINUTE).idle
    assert not Execution.objects.exists()


def test_the_next_slot_follows_from_the_slot(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    worker = scheduler()
    for late in (5.9, 10.7, 15.2):
        worker.tick(now + late * MINUTE)
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 20 * MINUTE
    assert Execution.objects.count() == 3


def test_an_edit_does_not_repeat_a_slot(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    scheduler().tick(now + 5 * MINUTE)
    TaskState.objects.filter(task=task).update(next_run_at=now + 5 * MINUTE)
    scheduler().tick(now + 5 * MINUTE)
    assert Execution.objects.count() == 1
    task.state.refresh_from_db()
    assert task.state.next_run_at == now + 10 * MINUTE


def test_a_task_disabled_in_bulk_does_not_fire(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes")
    Task.objects.update(enabled=False)
    assert scheduler().tick(now + 5 * MINUTE).fired == 0
    task.state.refresh_from_db()
    assert task.state.next_run_at is None


def test_a_bad_schedule_parks_only_its_task(
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


def test_a_missing_handler_parks_its_task(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    gone = make_task("gone", "jobs.add", "every 5 minutes")
    make_task("good", "jobs.add", "every 5 minutes")
    Task.objects.filter(pk=gone.pk).update(handler="jobs.removed")
    Execution.for_task(Task.objects.get(pk=gone.pk), trigger="schedule", now=now, slot=now).save()
    TaskChange.objects.update(changed_at=now - 5 * MINUTE)
    scheduler().tick(now + 5 * MINUTE)
    gone.state.refresh_from_db()
    assert gone.state.parked_reason == "No worker knows the handler 'jobs.removed'."
    skipped = Execution.objects.get(task=gone)
    assert (skipped.status, skipped.reason) == ("skipped", gone.state.parked_reason)
    assert Execution.objects.get(task_name="good").status == "success"


def test_expired_keys_and_locks_are_deleted_every_lease(
    scheduler: MakeScheduler, now: datetime
) -> None:
    def leave() -> None:
        held = {"task_name": "one", "execution_id": 1, "attempt": 1, "taken_at": now}
        OnceKey.objects.create(**held, key="mail", final=True, expires_at=now)
        long_ago = now - timedelta(days=2)
        Lock.objects.create(name="import", expires_at=long_ago)

    worker = scheduler()
    leave()
    worker.tick(now)
    assert not OnceKey.objects.exists()
    assert not Lock.objects.filter(name="import").exists()
    leave()
    worker.tick(now + timedelta(seconds=30))
    assert (OnceKey.objects.count(), Lock.objects.filter(name="import").count()) == (1, 1)
    worker.tick(now + timedelta(seconds=60))
    assert not OnceKey.objects.exists()
    assert not Lock.objects.filter(name="import").exists()


def test_a_recently_known_handler_parks_nothing(
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
    TaskChange.objects.all().delete()
    task.state.refresh_from_db()
    assert task.state.parked_at is None
    assert not Execution.objects.exists()
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
    assert "scheduled_tasks/executors/runner.py" not in first.traceback
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


def test_a_handler_gets_its_slot(
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


def test_priority_comes_first_within_the_worker_queues(
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


def test_signals_are_sent_even_if_receivers_raise(
    registry: HandlerRegistry,
    make_task: Make,
    scheduler: MakeScheduler,
    now: datetime,
    django_capture_on_commit_callbacks: Any,
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
        with django_capture_on_commit_callbacks(execute=True):
            scheduler().tick(now + 5 * MINUTE)
    finally:
        execution_started.disconnect(started, sender=handler)
        execution_finished.disconnect(finished, sender=handler)
    assert heard == ["started sum", "success sum"]


def test_run_now_does_not_shift_the_schedule(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    task = make_task("sum", "jobs.add", "every 5 minutes", enabled=False)
    execution = run_task_now("sum", {"a": 5}, by="user:ada")
    assert (execution.status, execution.slot) == ("queued", None)
    scheduler().tick(execution.run_after)
    execution.refresh_from_db()
    assert (execution.status, execution.result) == ("success", 7)
    assert (execution.trigger, execution.triggered_by) == ("manual", "user:ada")
    task.state.refresh_from_db()
    assert task.state.next_run_at is None


def test_a_lost_worker_stops(scheduler: MakeScheduler, now: datetime) -> None:
    worker = scheduler()
    worker.tick(now)
    Worker.objects.update(state=Worker.State.LOST)
    with pytest.raises(WorkerLostError):
        worker.tick(now + MINUTE)


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
def test_bad_values_stop_no_other_task(
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
