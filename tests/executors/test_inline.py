"""The inline executor: submitted means done."""

from __future__ import annotations

import threading

from scheduled_tasks import scheduled_task
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.registry import HandlerRegistry
from tests.executors.runs import clock, run_of


def test_a_run_is_over_when_submit_returns(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.job")
    def job() -> str:
        return threading.current_thread().name

    told: list[int] = []
    executor = InlineExecutor(concurrency=2, clock=clock, on_finished=lambda: told.append(1))
    assert executor.free == 2
    executor.submit(run_of(1))
    executor.submit(run_of(2))
    assert executor.free == 0
    assert [outcome.execution_id for outcome in executor.finished()] == [1, 2]
    assert executor.finished() == []
    assert (executor.free, told) == (2, [1, 1])
    executor.close()


def test_it_runs_in_the_thread_that_asks(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.job")
    def job() -> str:
        return threading.current_thread().name

    executor = InlineExecutor(concurrency=1, clock=clock)
    executor.submit(run_of(1))
    assert executor.finished()[0].result == threading.current_thread().name


def test_a_handler_that_exits_ends_its_run_only(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.exit")
    def leave() -> None:
        raise SystemExit(1)

    @scheduled_task(name="shop.interrupt")
    def interrupt() -> None:
        raise KeyboardInterrupt

    executor = InlineExecutor(concurrency=3, clock=clock)
    for number, handler in enumerate(["shop.exit", "shop.interrupt", "shop.unknown"]):
        executor.submit(run_of(number, handler))
    assert [outcome.status for outcome in executor.finished()] == ["failed", "cancelled", "failed"]


def test_a_handler_may_run_another_executor_within(registry: HandlerRegistry) -> None:
    executor = InlineExecutor(concurrency=2, clock=clock)

    @scheduled_task(name="shop.job")
    def job() -> None:
        executor.submit(run_of(2, "shop.inner"))

    @scheduled_task(name="shop.inner")
    def inner() -> None: ...

    executor.submit(run_of(1))
    assert [outcome.execution_id for outcome in executor.finished()] == [2, 1]
