"""One attempt that is cancelled: no failure, unless something else came first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from scheduled_tasks import Retry, RunCancelled, TaskContext, scheduled_task
from scheduled_tasks.exceptions import LeaseLost, RunInterrupted, TimeLimitExceeded
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import NullRecorder
from scheduled_tasks.runtime.runs import Outcome
from tests.executors.runs import clock, run_of
from tests.support.registries import isolated

Perform = Callable[..., Outcome]


@pytest.fixture
def outcome_under(registry: HandlerRegistry) -> Perform:
    """Return a function that runs a handler once."""

    def once(function: Callable[..., Any], cancellation: Cancellation | None = None) -> Outcome:
        with isolated(registry):
            scheduled_task(name="shop.job")(function)
            return perform(
                run_of(1),
                clock=clock,
                recorder=NullRecorder(),
                cancellation=cancellation or Cancellation(),
            )

    return once


def asked_to_stop(
    error: type[RunInterrupted], function: Callable[[TaskContext], Any]
) -> Callable[[TaskContext], Any]:
    """Return a handler that is asked to stop, and then does what the function does."""

    def handler(context: TaskContext) -> Any:
        try:
            context.cancellation.request(error, "A person said so.")
        finally:
            assert context.cancelled
            function(context)

    return handler


def do_nothing(context: TaskContext) -> None:
    """Let what is raised go on its way."""


def exit_politely(context: TaskContext) -> None:
    sys.exit("while cleaning up")


def press_a_key(context: TaskContext) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("cleaning_up", "error"),
    [
        (do_nothing, ""),
        (exit_politely, "SystemExit: while cleaning up"),
        (press_a_key, ""),
    ],
)
def test_a_cancelled_run_keeps_its_own_error(
    outcome_under: Perform, cleaning_up: Callable[[TaskContext], None], error: str
) -> None:
    outcome = outcome_under(asked_to_stop(RunCancelled, cleaning_up))
    assert (outcome.status, outcome.reason) == ("cancelled", "A person said so.")
    assert outcome.error == error
    assert (outcome.error_category, outcome.error_fingerprint) == ("", "")
    if cleaning_up is not press_a_key:
        assert "in handler" in outcome.traceback


def test_a_cancelled_run_that_returns_is_a_success(outcome_under: Perform) -> None:
    def handler(context: TaskContext) -> str:
        with pytest.raises(RunCancelled, match="A person said so"):
            context.cancellation.request(RunCancelled, "A person said so.")
        return "done all the same"

    outcome = outcome_under(handler)
    assert (outcome.status, outcome.result) == ("success", "done all the same")
    assert outcome.reason == ""


def test_a_coroutine_is_cancelled_where_it_awaits(outcome_under: Perform) -> None:
    swallow = False

    async def handler(context: TaskContext) -> str:
        context.cancellation.request(RunCancelled, "A person said so.")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if not swallow:
                raise
        return "done all the same"

    outcome = outcome_under(handler)
    assert (outcome.status, outcome.reason, outcome.error) == ("cancelled", "A person said so.", "")
    swallow = True
    assert outcome_under(handler).result == "done all the same"


@pytest.mark.parametrize(
    ("first", "category"), [(TimeLimitExceeded, "timeout"), (LeaseLost, "lost")]
)
def test_a_run_stopped_before_cancelling_keeps_its_reason(
    outcome_under: Perform, first: type[RunInterrupted], category: str
) -> None:
    def cancel_too(context: TaskContext) -> None:
        context.cancellation.request(RunCancelled, "Too late.")

    outcome = outcome_under(asked_to_stop(first, cancel_too))
    assert (outcome.status, outcome.error_category) == ("failed", category)
    assert (outcome.error, outcome.reason) == ("A person said so.", "")


def test_a_run_cancelled_before_it_began_never_begins(outcome_under: Perform) -> None:
    cancellation = Cancellation()
    cancellation.request(RunCancelled, "A person said so.")

    def handler() -> None:
        raise AssertionError("called")

    outcome = outcome_under(handler, cancellation)
    assert (outcome.status, outcome.reason, outcome.error) == ("cancelled", "A person said so.", "")


def test_a_timeout_is_retried_whatever_the_handler_wants(
    registry: HandlerRegistry,
) -> None:
    @scheduled_task(name="shop.job", retry=Retry(retry_on=(KeyError,)))
    def job(context: TaskContext) -> None:
        context.cancellation.request(TimeLimitExceeded, "Timed out.")

    outcome = perform(run_of(1), clock=clock, recorder=NullRecorder(), cancellation=Cancellation())
    assert (outcome.error_category, outcome.retryable) == ("timeout", True)
