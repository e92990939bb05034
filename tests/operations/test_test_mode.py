"""Test mode: the handler is told, the execution is marked, and nothing of it counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import Skip, TaskContext, run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle import requeueing
from scheduled_tasks.models import Execution, Task, TaskState
from scheduled_tasks.operations.tasks import prepare
from scheduled_tasks.worker.run_here import run_here
from scheduled_tasks.worker.scheduler import Scheduler

pytestmark = pytest.mark.django_db

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.play", retry=1)
    def play(context: TaskContext, *, how: str = "well") -> bool:
        if how == "skipped":
            raise Skip
        if how == "failed":
            raise ValueError("no luck")
        if how == "partial":
            context.record(processed=1, errors=1)
        return context.test_mode


@pytest.fixture
def task(make_task: Make) -> Task:
    played: Task = make_task("play", "jobs.play", "0 2 * * *")
    return played


def state_of(task: Task) -> dict[str, Any]:
    return TaskState.objects.filter(task=task).values(*TaskState.RESULT_FIELDS).get()


ENDS = ["success", "partial", "skipped", "failed"]


@pytest.mark.parametrize("how", ENDS)
def test_a_test_mode_run_does_not_count(
    task: Task, scheduler: Callable[..., Scheduler], now: datetime, how: str
) -> None:
    before = state_of(task)
    queued = run_task_now("play", {"how": how}, test_mode=True, now=now)
    assert queued.test_mode
    scheduler().tick(now)
    execution = Execution.objects.get()
    assert (execution.status, execution.test_mode) == (how, True)
    assert execution.result is (True if how in {"success", "partial"} else None)
    assert state_of(task) == before
    assert before["execution_count"] == 0


@pytest.mark.parametrize("how", ENDS)
def test_so_it_is_where_it_runs_at_once(task: Task, how: str) -> None:
    execution = run_here(prepare("play", {"how": how}, test_mode=True))
    assert (execution.status, execution.test_mode) == (how, True)
    assert state_of(task)["last_run_at"] is None


def test_a_real_run_counts(task: Task, scheduler: Callable[..., Scheduler], now: datetime) -> None:
    run_task_now("play", now=now)
    scheduler().tick(now)
    assert Execution.objects.get().result is False
    assert state_of(task)["execution_count"] == 1


def test_a_retry_stays_in_test_mode(
    task: Task, scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    Task.objects.update(max_retries=1, retry_delay=60)
    run_task_now("play", {"how": "failed"}, test_mode=True, now=now)
    worker = scheduler()
    worker.tick(now)
    assert Execution.objects.get().status == "queued"
    worker.tick(now + timedelta(hours=1))
    execution = Execution.objects.get()
    assert (execution.status, execution.attempt, execution.test_mode) == ("failed", 2, True)
    assert state_of(task)["consecutive_failures"] == 0


def test_a_test_mode_failure_is_no_dead_letter(
    task: Task, scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    failed = run_task_now("play", {"how": "failed"}, test_mode=True, now=now)
    scheduler().tick(now)
    assert Execution.objects.get(pk=failed.pk).status == "failed"
    assert not Execution.objects.dead().exists()
    assert requeueing.requeue(failed.pk, now) is None
