"""Which verbs wake the workers: those that make work, or stop some, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from scheduled_tasks import disable_task, run_task_now
from scheduled_tasks.lifecycle import ending, firing, requeueing, stopping
from scheduled_tasks.lifecycle.pausing import begin_pause, end_pauses
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.models.sql.notify import try_to_notify
from tests.support.attempts import NOTHING, claim, outcome
from tests.support.listening import needs_postgresql

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
Make = Callable[..., Task]


@pytest.fixture
def wakes(django_capture_on_commit_callbacks: Any) -> Callable[[Callable[[], Any]], int]:
    """Return what counts how often workers are woken by an operation, once it is committed."""
    needs_postgresql()

    def count(operation: Callable[[], Any]) -> int:
        with django_capture_on_commit_callbacks() as callbacks:
            operation()
        notifies = [each for each in callbacks if getattr(each, "func", None) is try_to_notify]
        return len(notifies)

    return count


Wakes = Callable[[Callable[[], Any]], int]


def test_what_is_asked_for_wakes(wakes: Wakes, make_task: Make, now: datetime) -> None:
    make_task("one", NOTHING)
    assert wakes(lambda: run_task_now("one", now=now)) == 1


def test_what_is_rolled_back_does_not_wake(wakes: Wakes, make_task: Make, now: datetime) -> None:
    make_task("one", NOTHING)

    def begin_and_leave() -> None:
        with transaction.atomic():
            run_task_now("one", now=now)
            transaction.set_rollback(True)

    assert wakes(begin_and_leave) == 0


def test_each_edit_wakes(wakes: Wakes, make_task: Make) -> None:
    assert wakes(lambda: Task(name="one", handler=NOTHING).save()) == 1
    assert wakes(lambda: disable_task("one")) == 1
    assert wakes(Task.objects.get().delete) == 1


def test_what_is_cancelled_wakes_once(wakes: Wakes, make_task: Make, now: datetime) -> None:
    make_task("one", NOTHING, overlap_policy="allow")
    ids = [run_task_now("one", now=now).pk for _ in range(3)]
    assert wakes(lambda: stopping.cancel(ids, now, reason="Not today.")) == 1
    assert wakes(lambda: stopping.cancel(ids, now, reason="Again.")) == 0


def test_attempts_wake_nobody_and_what_is_requeued_does(
    wakes: Wakes, make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("one", NOTHING, max_retries=1)
    run_task_now("one", now=now)

    def attempt(category: str) -> Execution:
        claimed = claim(worker, now + MINUTE)
        ended = outcome(claimed, now, "failed", error_category=category, retryable=True)
        ending.end([ended], worker, now)
        return claimed

    assert wakes(lambda: attempt("logic")) == 0, "a retry is no news"
    assert wakes(lambda: attempt("permanent")) == 0
    failed = Execution.objects.get()
    assert wakes(lambda: requeueing.requeue(failed.pk, now)) == 1
    assert wakes(lambda: requeueing.requeue(failed.pk, now)) == 0


def test_global_pauses_wake_workers_at_both_ends(wakes: Wakes, now: datetime) -> None:
    assert wakes(lambda: begin_pause(now)) == 1
    assert wakes(lambda: begin_pause(now + MINUTE)) == 1
    assert wakes(lambda: end_pauses(now + 2 * MINUTE)) == 1
    assert wakes(lambda: end_pauses(now + 2 * MINUTE)) == 0


@pytest.mark.parametrize(("more", "expected"), [(0, 0), (1, 1)])
def test_only_a_large_fire_wakes_and_once(
    wakes: Wakes, make_task: Make, now: datetime, more: int, expected: int
) -> None:
    slots = firing.MAX_QUEUED_SILENTLY + more
    make_task("one", NOTHING, "every 1 second", overlap_policy="allow")
    fired = []
    moment = now + timedelta(seconds=slots)
    assert wakes(lambda: fired.append(firing.fire(moment, limit=9))) == expected
    assert fired == [slots]
    assert Execution.objects.queued().count() == slots
