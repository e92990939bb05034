"""Cancel and requeue: guarded, so that of two who act at once one is told that it was too late."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import ending, requeueing, stopping
from scheduled_tasks.models import Execution, Task, Worker
from tests.support.attempts import claim, loss, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
Make = Callable[..., Task]


@pytest.fixture
def queued(make_task: Make, now: datetime) -> Execution:
    make_task("one", "jobs.nothing", max_retries=3)
    return run_task_now("one", {"n": 1}, now=now)


def fail_for_good(execution: Execution, worker: Worker, now: datetime) -> None:
    claimed = claim(worker, now)
    [ended] = ending.end([outcome(claimed, now, "failed", error_category="permanent")], worker, now)
    assert (ended, ended.status) == (execution, "failed")


def test_what_is_queued_is_cancelled_at_once(queued: Execution, now: datetime) -> None:
    assert stopping.cancel([queued.pk], now, reason="Not today.") == [queued.pk]
    assert stopping.cancel([queued.pk], now, reason="Nor tomorrow.") == []
    queued.refresh_from_db()
    assert (queued.status, queued.reason, queued.finished_at) == ("cancelled", "Not today.", now)


def test_a_running_execution_is_stopped_by_its_worker(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    claimed = claim(worker, now)
    assert stopping.cancel([queued.pk], now, reason="Not today.") == [queued.pk]
    assert stopping.cancel([queued.pk], now + MINUTE, reason="Again.") == []
    asked = stopping.asked_to_stop(str(worker.pk))
    assert asked == [(queued.pk, claimed.attempt, "Not today.")]
    assert stopping.asked_to_stop("another worker") == []


@pytest.mark.parametrize("status", ["cancelled", "success", "failed"])
def test_a_cancelled_run_ends_without_retries(
    queued: Execution, worker: Worker, now: datetime, status: str
) -> None:
    claimed = claim(worker, now)
    stopping.cancel([queued.pk], now, reason="Not today.")
    [ended] = ending.end([outcome(claimed, now, status)], worker, now)
    assert (ended.status, ended.failures) == (status, status == "failed")


def test_a_cancelled_run_that_is_lost_is_cancelled(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    claimed = claim(worker, now)
    stopping.cancel([queued.pk], now, reason="Not today.")
    [ended] = ending.end([loss(claimed)], worker, now)
    assert (ended.status, ended.reason) == ("cancelled", "Not today.")


def test_what_has_ended_is_not_cancelled(queued: Execution, worker: Worker, now: datetime) -> None:
    fail_for_good(queued, worker, now)
    assert stopping.cancel([queued.pk], now, reason="Too late.") == []


def test_a_requeued_failure_is_resolved(queued: Execution, worker: Worker, now: datetime) -> None:
    fail_for_good(queued, worker, now)
    again = requeueing.requeue(queued.pk, now + MINUTE, by="user:ada")
    assert again is not None
    assert (again.trigger, again.triggered_by, again.payload) == ("requeue", "user:ada", {"n": 1})
    assert (again.requeue_of, again.scheduled_for) == (queued, queued.scheduled_for)
    queued.refresh_from_db()
    assert (queued.resolved_at, queued.resolution) == (now + MINUTE, f"Requeued as #{again.pk}.")
    assert requeueing.requeue(queued.pk, now) is None
    assert claim(worker, now + MINUTE) == again


def test_another_payload_may_be_given(queued: Execution, worker: Worker, now: datetime) -> None:
    fail_for_good(queued, worker, now)
    again = requeueing.requeue(queued.pk, now, payload={"n": 2})
    assert again is not None
    assert again.payload == {"n": 2}


def test_only_a_failure_with_a_task_is_requeued(
    queued: Execution, worker: Worker, now: datetime
) -> None:
    assert requeueing.requeue(queued.pk, now) is None
    fail_for_good(queued, worker, now)
    Task.objects.get().delete(now=now)
    assert requeueing.requeue(queued.pk, now) is None
    assert Execution.objects.count() == 1
