"""Claims, fencing and losses: who owns an execution, and who may end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction

from scheduled_tasks.lifecycle import claiming, ending, recording
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.runtime.runs import Ending
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import begin, claim, loss, make_worker, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
LEASE = 60
Make = Callable[..., Task]


def ended(endings: list[Ending], worker: Worker, now: datetime) -> list[int]:
    return [row.pk for row in ending.end(endings, worker, now)]


@pytest.fixture
def queued(make_task: Make, now: datetime) -> Execution:
    execution = Execution.for_task(
        make_task("one", "jobs.nothing"), trigger="schedule", now=now, slot=now
    )
    execution.save()
    return execution


def test_a_claim_takes_each_execution_once(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    assert claim(worker, now).attempt == 1
    assert claiming.claim(worker, now, limit=1, handlers=["jobs.nothing"]).rows == []


def test_a_worker_claims_only_known_and_due_handlers(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    assert claiming.claim(worker, now, limit=9, handlers=["jobs.other"]).rows == []
    early = now - MINUTE
    assert claiming.claim(worker, early, limit=9, handlers=["jobs.nothing"]).rows == []


def test_an_outcome_of_an_earlier_attempt_changes_nothing(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    late = outcome(claim(worker, now), now, "failed")
    ending.give_back([str(worker.pk)], now, reason="lost", charged=True)
    again = claim(worker, now)
    assert again.attempt == 2
    assert ending.end([late], worker, now) == []
    queued.refresh_from_db()
    assert queued.status == "running"
    assert ended([outcome(again, now)], worker, now) == [queued.pk]


def test_an_outcome_of_another_worker_changes_nothing(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    mine = claim(worker, now)
    assert ending.end([outcome(mine, now)], make_worker("other", now), now) == []
    assert ending.end([outcome(mine, now)], worker, now) == [mine]
    assert ending.end([outcome(mine, now)], worker, now) == []
    assert queued.task.state.__class__.objects.get().execution_count == 1


def test_each_outcome_of_a_task_is_counted(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("many", "jobs.nothing", overlap_policy="allow")
    for minute in range(5):
        Execution.for_task(task, trigger="schedule", now=now, slot=now - minute * MINUTE).save()
    claimed = claiming.claim(worker, now, limit=5, handlers=["jobs.nothing"]).rows
    statuses = ["success", "failed", "failed", "success", "failed"]
    outcomes = [
        outcome(execution, now + n * MINUTE, status)
        for n, (execution, status) in enumerate(zip(claimed, statuses, strict=True))
    ]
    ending.end(outcomes, worker, now)
    task.state.refresh_from_db()
    assert task.state.execution_count == 5
    assert task.state.last_status == "failed"
    assert task.state.consecutive_failures == 1
    assert task.state.last_success_at == now + 3 * MINUTE


def test_an_unstorable_end_is_stored_without_its_texts(
    make_task: Make, now: datetime, scheduler: Callable[..., Scheduler]
) -> None:
    task = make_task("two", "jobs.nothing", overlap_policy="allow")
    worker = scheduler()
    worker.tick(now)
    for minute in range(3):
        Execution.for_task(task, trigger="schedule", now=now, slot=now - minute * MINUTE).save()
    claimed = claiming.claim(worker.engine.worker, now, limit=3, handlers=["jobs.nothing"]).rows
    good, bad, fine = (outcome(execution, now) for execution in claimed)
    too_long = "SQLite stores this, other databases do not"
    worker.engine.result_writer.write_endings([good, replace(bad, error_category=too_long), fine])
    assert set(Execution.objects.values_list("status", flat=True)) == {"success"}
    stored = Execution.objects.get(pk=bad.execution_id)
    assert stored.error_category or "could not be stored" in stored.reason


def test_a_loss_requeues_until_its_budget_is_spent(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    for attempt in (1, 2, 3, 4, 5, 6):
        assert begin(worker, now).attempt == attempt
        ending.give_back([str(worker.pk)], now, reason="gone", charged=True)
    queued.refresh_from_db()
    assert (queued.status, queued.error_category, queued.error) == ("failed", "lost", "gone")
    assert queued.losses == 4
    assert queued.finished_at == now


def test_on_lost_fail_makes_a_lost_run_fail(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    Task.objects.update(on_lost=Task.OnLost.FAIL)
    begin(worker, now)
    ending.give_back([str(worker.pk)], now, reason="gone", charged=False)
    queued.refresh_from_db()
    assert (queued.status, queued.attempt) == ("failed", 1)
    assert Task.objects.get().state.consecutive_failures == 1


def test_a_lost_attempt_is_requeued_with_its_checkpoint(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    claimed = claim(worker, now)
    progress = {"done": 4, "total": 10, "text": ""}
    Execution.objects.update(progress=progress, checkpoint=[4], reason="It was asked to stop.")
    assert ended([loss(claimed)], worker, now + MINUTE) == [queued.pk]
    queued.refresh_from_db()
    assert (queued.status, queued.losses, queued.run_after) == ("queued", 0, now + MINUTE)
    assert (queued.progress, queued.checkpoint) == (progress, [4])
    assert (queued.reason, queued.error, queued.finished_at) == ("", "It was killed.", None)
    assert queued.attempts.get().outcome == "lost"
    assert Task.objects.get().state.execution_count == 0
    again = claim(worker, now + MINUTE)
    assert (again.attempt, again.as_run().checkpoint) == (2, [4])


def test_lost_attempts_fail_once_their_budget_is_spent(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    for _ in range(6):
        ended([loss(begin(worker, now))], worker, now)
    queued.refresh_from_db()
    assert (queued.status, queued.error_category) == ("failed", "lost")
    assert (queued.error, queued.losses, queued.finished_at) == ("It was killed.", 4, now)
    assert Task.objects.get().state.last_status == "failed"


def test_a_loss_that_is_not_charged_costs_nothing(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    for _ in range(9):
        ended([loss(claim(worker, now), charged=False)], worker, now)
    queued.refresh_from_db()
    assert (queued.status, queued.losses, queued.attempt) == ("queued", 0, 9)


def test_an_uncharged_loss_costs_nothing_despite_budget_cuts(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    for _ in range(3):
        ended([loss(begin(worker, now))], worker, now)
    Task.objects.update(max_losses=0)
    ended([loss(claim(worker, now), charged=False)], worker, now)
    queued.refresh_from_db()
    assert (queued.status, queued.losses) == ("queued", 1)


def test_a_loss_of_another_claim_changes_nothing(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    claimed = claim(worker, now)
    assert ended([loss(claimed)], make_worker("other", now), now) == []
    assert ended([replace(loss(claimed), attempt=2)], worker, now) == []
    queued.refresh_from_db()
    assert (queued.status, queued.losses) == ("running", 0)


def test_a_late_outcome_does_not_replace_the_current(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    late = outcome(claim(worker, now), now, "failed")
    ending.give_back([str(worker.pk)], now, reason="lost", charged=True)
    good = outcome(claim(worker, now), now)
    assert ended([good, late], worker, now) == [queued.pk]
    queued.refresh_from_db()
    assert (queued.status, queued.attempt) == ("success", 2)


def test_losses_and_outcomes_pass_the_gate_together(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    kept, once = (
        make_task("kept", "jobs.nothing", overlap_policy="allow"),
        make_task("once", "jobs.nothing", on_lost="fail", overlap_policy="allow"),
    )
    for task in (kept, once, kept, once):
        Execution.for_task(task, trigger="manual", now=now).save()
    first, second, third, fourth = claiming.claim(
        worker, now, limit=4, handlers=["jobs.nothing"]
    ).rows
    recording.record_begin((second.pk, second.attempt))
    later = now + MINUTE
    endings = [
        loss(second),
        loss(first),
        replace(outcome(third, now), peak_memory_mb=12),
        outcome(fourth, now, "failed"),
    ]
    assert ended(endings, worker, later) == [third.pk, fourth.pk, first.pk, second.pk]
    statuses = dict(Execution.objects.values_list("pk", "status"))
    assert [statuses[row.pk] for row in (first, second, third, fourth)] == [
        "queued",
        "failed",
        "success",
        "failed",
    ]
    assert Execution.objects.get(pk=third.pk).peak_memory_mb == 12
    kept.state.refresh_from_db()
    once.state.refresh_from_db()
    assert (kept.state.execution_count, kept.state.last_status) == (1, "success")
    assert (once.state.execution_count, once.state.consecutive_failures) == (2, 2)


def test_a_run_gets_limits_and_checkpoint(queued: Execution, worker: Worker, now: datetime) -> None:
    Task.objects.update(timeout=60, memory_limit_mb=100, executor="thread", schedule="0 2 * * *")
    Execution.objects.update(checkpoint={"last": 4})
    run = claim(worker, now).as_run()
    assert (run.timeout, run.memory_limit_mb, run.executor) == (60, 100, "thread")
    assert (run.schedule, run.checkpoint) == ("0 2 * * *", {"last": 4})


def test_a_deleted_tasks_run_has_no_limits(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    Task.objects.update(timeout=60, memory_limit_mb=100, executor="thread")
    claimed = claim(worker, now)
    claimed.task = None
    run = claimed.as_run()
    assert (run.timeout, run.memory_limit_mb, run.executor, run.schedule) == (None, None, "", "")


def test_a_silent_worker_is_reaped_after_a_lease(
    queued: Execution, worker: Worker, now: datetime, scheduler: Callable[..., Scheduler]
) -> None:
    claim(worker, now)
    seconds = 0.0
    reaper = scheduler(monotonic=lambda: seconds)
    for beat in range(LEASE // 5):
        seconds = 5.0 * beat
        reaper.tick(now + timedelta(seconds=5 * beat))
        queued.refresh_from_db()
        assert queued.status == "running"
    seconds = float(LEASE)
    reaper.tick(now + timedelta(seconds=LEASE))
    queued.refresh_from_db()
    assert (queued.status, queued.attempt, queued.losses) == ("success", 2, 0)
    worker.refresh_from_db()
    assert worker.state == Worker.State.LOST


def test_a_heartbeat_keeps_runs_whatever_the_clock_says(
    queued: Execution, worker: Worker, now: datetime, scheduler: Callable[..., Scheduler]
) -> None:
    claim(worker, now)
    seconds = iter(range(0, 10_000, 5))
    reaper = scheduler(monotonic=lambda: float(next(seconds)))
    for beat in range(40):
        Worker.objects.filter(pk=worker.pk).update(
            heartbeat_at=now - timedelta(days=3) + timedelta(seconds=beat)
        )
        reaper.tick(now + timedelta(seconds=5 * beat))
    queued.refresh_from_db()
    assert queued.status == "running"


def test_reaping_goes_on_after_the_clock_moves_back(
    queued: Execution, worker: Worker, now: datetime, scheduler: Callable[..., Scheduler]
) -> None:
    reaper = scheduler()
    reaper.tick(now - timedelta(seconds=1))  # nothing is due
    claim(worker, now)
    worker.delete()
    reaper.tick(now - timedelta(hours=1))
    queued.refresh_from_db()
    assert (queued.status, queued.losses) == ("success", 0)


def test_only_a_running_execution_may_be_exclusive(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    """Nobody could claim beside what has ended and still holds it."""
    held = Execution.objects.filter(pk=claim(worker, now).pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        held.update(status="failed")
    assert held.update(status="failed", exclusive=None) == 1


def test_an_execution_without_its_workers_row_is_reaped(
    queued: Execution, worker: Worker, now: datetime, scheduler: Callable[..., Scheduler]
) -> None:
    claim(worker, now)
    worker.delete()
    scheduler().tick(now)
    queued.refresh_from_db()
    assert (queued.status, queued.losses) == ("success", 0)
