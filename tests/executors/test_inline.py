"""The inline executor: submitted means done."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.executors.base import MAX_UNWRITTEN_MESSAGES
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.messages import Checkpoint, LeaseCheck
from scheduled_tasks.runtime.runs import Outcome
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
    assert [outcome.status for outcome in executor.finished()] == ["failed", "failed", "failed"]


def test_a_handler_may_run_another_executor_within(registry: HandlerRegistry) -> None:
    executor = InlineExecutor(concurrency=2, clock=clock)

    @scheduled_task(name="shop.job")
    def job() -> None:
        executor.submit(run_of(2, "shop.inner"))

    @scheduled_task(name="shop.inner")
    def inner() -> None: ...

    executor.submit(run_of(1))
    assert [outcome.execution_id for outcome in executor.finished()] == [2, 1]


def test_messages_wait_until_an_inline_run_has_ended(
    registry: HandlerRegistry,
) -> None:
    @scheduled_task(name="shop.job")
    def job(context: TaskContext) -> Any:
        for _ in range(MAX_UNWRITTEN_MESSAGES + 10):
            context.heartbeat()
        context.checkpoint = "last"
        return context.checkpoint

    executor = InlineExecutor(concurrency=1, clock=clock)
    executor.submit(run_of(1))
    assert [ending.result for ending in outcomes_of(executor)] == ["last"]
    said = [sent.message for sent in executor.messages()]
    assert said[0] == LeaseCheck()
    assert said[-1] == Checkpoint(value="last")
    assert len(said) == MAX_UNWRITTEN_MESSAGES + 11


def test_a_run_that_reaches_its_timeout_is_interrupted(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.job")
    def job() -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            pass

    executor = InlineExecutor(concurrency=1, clock=clock)
    executor.submit(replace(run_of(1), timeout=0.1))
    [outcome] = outcomes_of(executor)
    assert (outcome.error_category, outcome.error) == (
        "timeout",
        "Timed out after 0.1 s.",
    )


def test_nothing_that_it_holds_can_be_cancelled(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.job")
    def job() -> str:
        return "done"

    executor = InlineExecutor(concurrency=1, clock=clock)
    executor.submit(run_of(1))
    executor.cancel(1, 1, "No longer wanted.")
    assert [outcome.result for outcome in outcomes_of(executor)] == ["done"]


@pytest.mark.django_db
def test_a_transaction_around_it_stays_whole(
    registry: HandlerRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    @scheduled_task(name="shop.job")
    def job(*, breaks: bool) -> None:
        user = User.objects.create(username=f"breaks={breaks}")
        if breaks:
            User.objects.create(pk=user.pk, username="another")

    executor = InlineExecutor(concurrency=2, clock=clock)
    User.objects.create(username="before")
    for number, breaks in enumerate([True, False]):
        executor.submit(replace(run_of(number), payload={"breaks": breaks}))
    assert [outcome.error_category for outcome in outcomes_of(executor)] == ["database", ""]
    assert {user.username for user in User.objects.all()} == {"before", "breaks=False"}
    assert caplog.messages == [
        "rolled back the changes of a handler that broke the surrounding transaction"
    ]


def outcomes_of(executor: InlineExecutor) -> list[Outcome]:
    endings = executor.finished()
    assert all(isinstance(ending, Outcome) for ending in endings)
    return [ending for ending in endings if isinstance(ending, Outcome)]
