"""What a worker may claim: one of a task that may not overlap, nothing paused, nothing too late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from scheduled_tasks import run_task_now
from scheduled_tasks.exceptions import AlreadyRunning, UnknownTask
from scheduled_tasks.lifecycle import claiming, ending, queueing
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.models.sql.transactions import LostRaceError
from scheduled_tasks.operations.tasks import prepare
from tests.support.attempts import NOTHING, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
Make = Callable[..., Task]


def claim(worker: Worker, now: datetime, limit: int = 10) -> list[Execution]:
    return claiming.claim(worker, now, limit=limit, handlers=["jobs.nothing"]).rows


def end(execution: Execution, worker: Worker, now: datetime) -> None:
    assert ending.end([outcome(execution, now)], worker, now) == [execution]


def queue(task: Task, now: datetime, count: int = 1, **fields: Any) -> list[Execution]:
    queued = []
    for _ in range(count):
        row = Execution.for_task(task, trigger=fields.get("trigger", "manual"), now=now)
        for name, value in fields.items():
            setattr(row, name, value)
        row.save()
        queued.append(row)
    return queued


def test_a_task_without_overlap_runs_in_order(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    queued = queue(make_task("one", "jobs.nothing"), now, 3)
    for expected in queued:
        [claimed] = claim(worker, now)
        assert (claimed, claimed.exclusive) == (expected, claimed.task_id)
        assert claim(worker, now) == []
        end(claimed, worker, now)
        claimed.refresh_from_db()
        assert claimed.exclusive is None


def test_those_that_may_overlap_run_together(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    queued = queue(make_task("many", "jobs.nothing", overlap_policy="allow"), now, 3)
    claimed = claim(worker, now)
    assert claimed == queued
    assert {row.exclusive for row in claimed} == {None}


def test_runs_waiting_for_their_task_block_no_others(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    queue(make_task("busy", "jobs.nothing", priority=9), now, 50)
    other = queue(make_task("other", "jobs.nothing"), now)
    assert len(claim(worker, now, limit=1)) == 1
    assert claim(worker, now, limit=1) == other


def test_one_claim_fills_all_places(make_task: Make, worker: Worker, now: datetime) -> None:
    stale = make_task("stale", "jobs.nothing", misfire_grace=1, overlap_policy="allow", priority=9)
    for minute in range(1, 300):
        queue(stale, now - minute * MINUTE, trigger="schedule", slot=now - minute * MINUTE)
    for name in ("a", "b"):
        queue(make_task(name, "jobs.nothing", priority=5), now, 60)
    queue(make_task("last", "jobs.nothing"), now)
    assert [row.task_name for row in claim(worker, now, limit=3)] == ["a", "b", "last"]
    assert Execution.objects.filter(task=stale, status="missed").count() == 299


def test_forbidding_overlap_waits_for_running_executions(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("many", "jobs.nothing", overlap_policy="allow")
    queue(task, now, 2)
    running = claim(worker, now)
    task.overlap_policy = "skip"
    task.save(now=now)
    [waiting] = queue(task, now)
    assert claim(worker, now) == []
    for row in running:
        end(row, worker, now)
    assert claim(worker, now) == [waiting]


def test_the_database_itself_refuses_a_second_run(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("one", "jobs.nothing")
    _, second = queue(task, now, 2)
    claim(worker, now)
    second.exclusive = task.pk
    with pytest.raises(IntegrityError), transaction.atomic():
        second.save()


def test_while_everything_is_paused_nothing_is_claimed(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    queued = queue(make_task("one", "jobs.nothing"), now)
    begin_pause(now, until=now + MINUTE)
    assert claim(worker, now + 59 * SECOND) == []
    assert claim(worker, now + MINUTE) == queued


def test_a_paused_tasks_slots_wait_unlike_requested_runs(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("one", "jobs.nothing", paused_until=now + MINUTE, overlap_policy="allow")
    [slot] = queue(task, now, trigger="schedule", slot=now)
    asked = queue(task, now)
    assert claim(worker, now) == asked
    assert claim(worker, now + MINUTE) == [slot]


@pytest.mark.parametrize(("seconds", "status"), [(30, "running"), (31, "missed")])
def test_a_slot_claimed_after_its_grace_is_missed(
    make_task: Make, worker: Worker, now: datetime, seconds: int, status: str
) -> None:
    task = make_task("one", "jobs.nothing", misfire_grace=30)
    [row] = queue(task, now, trigger="schedule", slot=now)
    claim(worker, now + seconds * SECOND)
    row.refresh_from_db()
    assert row.status == status
    if status == "missed":
        assert (row.reason, row.attempt) == ("Found later than the grace period of 30 s allows.", 0)
        assert row.finished_at == now + seconds * SECOND


def test_a_grace_spares_retries_and_requested_runs(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("one", "jobs.nothing", misfire_grace=30, overlap_policy="allow")
    rows = queue(task, now, trigger="schedule", slot=now, attempt=1) + queue(task, now)
    assert claim(worker, now + MINUTE) == rows


def test_slots_of_a_task_disabled_in_bulk_end(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("one", "jobs.nothing", overlap_policy="allow")
    [fresh] = queue(task, now, trigger="schedule", slot=now)
    [tried] = queue(task, now, trigger="schedule", slot=now + MINUTE, attempt=1, error="no luck")
    asked = queue(task, now)
    Task.objects.update(enabled=False)
    assert claim(worker, now + MINUTE) == asked
    fresh.refresh_from_db()
    tried.refresh_from_db()
    assert (fresh.status, fresh.reason) == ("skipped", "The task was disabled.")
    assert (tried.status, tried.reason, tried.error) == (
        "failed",
        "The task was disabled.",
        "no luck",
    )
    assert TaskState.objects.get().last_status == "failed"


def test_a_task_deleted_in_bulk_cancels_its_executions(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    [row] = queue(make_task("one", "jobs.nothing"), now)
    Task.objects.all().delete()
    assert claim(worker, now) == []
    row.refresh_from_db()
    assert (row.status, row.reason) == ("cancelled", "The task was deleted.")


def test_beginning_at_once_is_refused_beside_another_run(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("one", "jobs.nothing")
    first, second = prepare("one", now=now), prepare("one", now=now)
    queueing.create_claimed(first, worker, now)
    assert (first.status, first.attempt, first.exclusive) == ("running", 1, first.task_id)
    with pytest.raises(AlreadyRunning, match=f"as execution {first.pk} on first, and"):
        queueing.create_claimed(second, worker, now)
    assert Execution.objects.count() == 1


def test_nothing_is_queued_for_a_deleted_task(make_task: Make, now: datetime) -> None:
    task = make_task("one", "jobs.nothing")
    Task.objects.get().delete(now=now)
    with pytest.raises(UnknownTask, match="'one' was deleted"):
        run_task_now(task)


def test_a_task_without_a_clock_can_be_run(db: None, now: datetime) -> None:
    Task.objects.bulk_create([Task(name="one", handler="jobs.nothing")])
    assert run_task_now("one", now=now).status == "queued"


def test_beginning_at_once_works_again_after_a_conflict(
    make_task: Make, worker: Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try has set its status, its attempt and its worker."""
    make_task("one", NOTHING)
    execution = prepare("one", now=now)
    hand_over, conflicts = claiming.hand_over, iter([True, False])

    def meet_a_conflict(*args: Any, **options: Any) -> None:
        hand_over(*args, **options)
        if next(conflicts):
            raise LostRaceError("Another transaction was faster.")

    monkeypatch.setattr(queueing, "hand_over", meet_a_conflict)
    with pytest.raises(LostRaceError):
        queueing.create_claimed(execution, worker, now)  # within the transaction of the test
    queueing.create_claimed(execution, worker, now)
    assert (execution.status, execution.attempt, Execution.objects.count()) == ("running", 1, 1)
