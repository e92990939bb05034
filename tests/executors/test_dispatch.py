"""Which executor a run is handed to: its task's, or the worker's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.dispatch import Dispatcher
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.executors.thread import ThreadExecutor
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.worker.scheduler import Scheduler
from tests.executors.runs import clock, run_of
from tests.support.processes import LONG, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., Task]


class OwnExecutor(InlineExecutor):
    """An executor of a project's own."""


class HoldingExecutor(Executor):
    """Holds what it is given, and notes what it is asked."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: list[tuple[int, int, str]] = []

    def begin(self, run: Run) -> None:
        """Hold it."""

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Note it."""
        self.asked.append((execution_id, attempt, reason))


class OtherHoldingExecutor(HoldingExecutor):
    """Another kind."""


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.where")
    def where() -> str:
        return threading.current_thread().name


@pytest.fixture
def worker(scheduler: Callable[..., Scheduler]) -> Iterator[Scheduler]:
    worker = scheduler(concurrency=2)
    yield worker
    worker.close()


def run(worker: Scheduler, make_task: Make, executor: str) -> Execution:
    """Run a task of that executor to its end."""
    make_task("where", "jobs.where")
    Task.objects.update(executor=executor)
    execution = run_task_now("where")
    worker.tick(execution.run_after)
    wait_until(
        lambda: worker.engine.write_results() >= 0 and not worker.engine.executor.in_hand,
        within=LONG,
    )
    execution.refresh_from_db()
    return execution


def test_a_task_without_executor_runs_on_the_workers(worker: Scheduler, make_task: Make) -> None:
    assert run(worker, make_task, "").result == threading.current_thread().name
    assert list(worker.engine.executor.executors) == [InlineExecutor]


def test_a_task_that_names_one_runs_there(worker: Scheduler, make_task: Make) -> None:
    execution = run(worker, make_task, "thread")
    assert (execution.status, execution.result) == ("success", "run-1")
    assert set(worker.engine.executor.executors) == {InlineExecutor, ThreadExecutor}


def test_the_workers_executor_may_be_a_projects_class(settings: Any) -> None:
    path = f"{OwnExecutor.__module__}.{OwnExecutor.__qualname__}"
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "EXECUTOR": path}
    assert Scheduler().engine.executor.default is OwnExecutor


@pytest.mark.parametrize("name", ["celery", ".", "no.such.Thing", "datetime.date", "datetime.UTC"])
def test_a_task_that_names_an_unknown_executor_fails(
    worker: Scheduler, make_task: Make, name: str
) -> None:
    execution = run(worker, make_task, name)
    assert (execution.status, execution.error_category) == ("failed", "permanent")
    assert f"{name!r} is not an executor" in execution.error
    Task.objects.update(executor="")
    after = run_task_now("where")
    worker.tick(after.run_after)
    after.refresh_from_db()
    assert after.status == "success"


def test_all_executors_share_the_places_of_the_worker(worker: Scheduler, make_task: Make) -> None:
    go, begun = threading.Event(), threading.Semaphore(0)

    @scheduled_task(name="jobs.hold")
    def hold() -> None:
        begun.release()
        assert go.wait(LONG)

    make_task("hold", "jobs.hold", overlap_policy="allow")
    Task.objects.update(executor="thread")
    make_task("quick", "jobs.where")
    held = [run_task_now("hold") for _ in range(2)]
    quick = run_task_now("quick")
    try:
        assert worker.tick(quick.run_after).claimed == 2
        for _ in held:
            assert begun.acquire(timeout=LONG)
        assert worker.engine.executor.free == 0
        assert worker.tick(quick.run_after).claimed == 0
    finally:
        go.set()
    wait_until(
        lambda: worker.engine.write_results() >= 0 and not worker.engine.executor.in_hand,
        within=LONG,
    )
    assert worker.tick(quick.run_after).ended == 1
    assert set(Execution.objects.values_list("status", flat=True)) == {"success"}


def test_a_worker_without_a_valid_executor_cannot_start(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "EXECUTOR": "celery"}
    with pytest.raises(InvalidSettings, match="'celery' is not an executor"):
        Scheduler()


def test_a_request_to_cancel_reaches_the_runs_executor() -> None:
    other = f"{__name__}.{OtherHoldingExecutor.__name__}"
    dispatcher = Dispatcher(HoldingExecutor, concurrency=3, clock=clock)
    dispatcher.submit(run_of(1))
    dispatcher.submit(replace(run_of(2), executor=other))
    for claim in ((1, 1), (2, 1), (2, 2), (3, 1)):
        dispatcher.cancel(*claim, "No longer wanted.")
    asked = [executor.asked for executor in dispatcher.executors.values()]
    assert asked == [[(1, 1, "No longer wanted.")], [(2, 1, "No longer wanted.")]]


def test_a_cancelled_run_is_recorded_as_cancelled(worker: Scheduler, make_task: Make) -> None:
    begun = threading.Event()

    @scheduled_task(name="jobs.wait")
    def wait() -> None:
        begun.set()
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            time.sleep(0.01)

    make_task("wait", "jobs.wait")
    Task.objects.update(executor="thread")
    execution = run_task_now("wait")
    worker.tick(execution.run_after)
    assert begun.wait(LONG)
    worker.engine.executor.cancel(execution.pk, 1, "No longer wanted.")
    wait_until(
        lambda: worker.engine.write_results() >= 0 and not worker.engine.executor.in_hand,
        within=LONG,
    )
    execution.refresh_from_db()
    assert (execution.status, execution.reason) == ("cancelled", "No longer wanted.")
    assert (execution.error, execution.error_category) == ("", "")
