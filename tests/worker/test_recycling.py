"""When a worker claims nothing more, so that a fresh process takes its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.worker.scheduler import Scheduler
from tests.executors.runs import run_of

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.answer", retry=5)
    def answer(*, fails: bool = False) -> None:
        if fails:
            raise ConnectionError


def statuses() -> list[str]:
    return list(Execution.objects.order_by("pk").values_list("status", flat=True))


def test_it_claims_as_many_executions_as_it_may(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    for number in range(5):
        run_task_now(make_task(f"task-{number}", "jobs.answer").name, now=now)
    worker = scheduler(max_executions=3)
    assert worker.tick(now + MINUTE).claimed == 3
    assert worker.stopping
    assert statuses() == ["success"] * 3 + ["queued"] * 2
    assert Worker.objects.get().state == Worker.State.STOPPING


def test_a_worn_worker_still_fires_slots(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    worker = scheduler(max_executions=1)
    make_task("often", "jobs.answer", "every 5 minutes", overlap_policy="buffer_all")
    assert (worker.tick(now + 5 * MINUTE).claimed, worker.stopping) == (1, True)
    later = worker.tick(now + 10 * MINUTE)
    assert (later.fired, later.claimed) == (1, 0)
    assert statuses() == ["success", "queued"]


def test_each_attempt_counts_as_a_claim(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    run_task_now(make_task("bad", "jobs.answer", max_retries=5).name, {"fails": True}, now=now)
    worker = scheduler(max_executions=2)
    for hours in range(4):
        worker.tick(now + timedelta(hours=hours))
    assert Execution.objects.get().attempt == 2


def test_it_claims_nothing_after_its_age(
    make_task: Make, scheduler: MakeScheduler, now: datetime
) -> None:
    seconds = [0.0]
    worker = scheduler(max_age=60, monotonic=lambda: seconds[0])
    name = make_task("task", "jobs.answer").name
    run_task_now(name, now=now)
    assert (worker.tick(now + MINUTE).claimed, worker.stopping) == (1, False)
    run_task_now(name, now=now)
    seconds[0] = 60.0
    assert (worker.tick(now + 2 * MINUTE).claimed, worker.stopping) == (0, True)
    assert statuses() == ["success", "queued"]


def test_a_worker_counts_what_it_leaves_unfinished(
    scheduler: MakeScheduler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = scheduler()
    monkeypatch.setattr(type(worker.engine.executor), "in_hand", [run_of(1)])
    worker.abandon()
    assert "worker stops with 1 execution unfinished" in caplog.messages
