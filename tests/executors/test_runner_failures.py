"""One attempt that fails: the error, its category and its traceback are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError

from scheduled_tasks.exceptions import InvalidSchedule
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import NullRecorder
from scheduled_tasks.runtime.runs import Run
from tests.executors.conftest import Perform
from tests.executors.runs import raising


def test_a_failure_keeps_error_and_handlers_traceback(outcome_of: Perform) -> None:
    def handler() -> None:
        {}["missing"]

    outcome = outcome_of(handler)
    assert (outcome.status, outcome.error_category) == ("failed", "logic")
    assert outcome.error == "KeyError: 'missing'"
    assert outcome.result is None
    assert "test_runner_failures.py" in outcome.traceback
    assert 'runner.py", line' not in outcome.traceback


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (ValueError("x"), "logic"),
        (MemoryError(), "memory"),
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError(), "network"),
        (BrokenPipeError(), "network"),
        (DatabaseError(), "database"),
        (IntegrityError(), "database"),
        (InterfaceError(), "database"),
        (InvalidSchedule("x"), "permanent"),
        (SystemExit(3), "logic"),
        (SystemExit(0), "logic"),
        (SystemExit("goodbye"), "logic"),
        (GeneratorExit(), "logic"),
        (BaseException("bare"), "logic"),
        (KeyboardInterrupt(), "logic"),
        (BaseExceptionGroup("group", [KeyboardInterrupt(), ValueError("x")]), "logic"),
        (asyncio.CancelledError(), "logic"),
        (StopIteration(5), "logic"),
        (RecursionError(), "logic"),
    ],
    ids=repr,
)
def test_whatever_is_raised_is_a_categorized_failure(
    outcome_of: Perform, error: BaseException, category: str
) -> None:
    outcome = outcome_of(raising(error))
    assert (outcome.status, outcome.error_category) == ("failed", category)
    assert outcome.error.startswith((type(error).__name__, "scheduled_tasks", "django", "asyncio"))


def test_a_handlers_own_interrupt_shows_its_place(outcome_of: Perform) -> None:
    outcome = outcome_of(raising(KeyboardInterrupt("mine")))
    assert (outcome.error, outcome.reason) == ("KeyboardInterrupt: mine", "")
    assert "in handler" in outcome.traceback
    assert outcome.retryable


def test_endless_recursion_is_a_failure(outcome_of: Perform) -> None:
    def handler() -> None:
        handler()

    outcome = outcome_of(handler)
    assert outcome.error.startswith("RecursionError")
    assert len(outcome.traceback) < 10_000


def test_failures_of_one_place_share_a_fingerprint(outcome_of: Perform) -> None:
    def handler(*, number: int) -> None:
        if number == 3:
            raise KeyError(number)
        raise ValueError(f"number {number}")

    first, second, third = (outcome_of(handler, number=number) for number in (1, 2, 3))
    assert first.error_fingerprint == second.error_fingerprint != third.error_fingerprint
    assert first.error != second.error


def test_code_in_an_undecodable_file_name_can_fail(outcome_of: Perform) -> None:
    namespace: dict[str, Any] = {"__name__": "odd"}
    exec(compile("def handler(): 1 / 0", "/srv/\udcff/tasks.py", "exec"), namespace)
    assert outcome_of(namespace["handler"]).error == "ZeroDivisionError: division by zero"


def test_an_invalid_payload_fails_without_calling_the_handler(
    outcome_of: Perform,
) -> None:
    def handler(*, days: int) -> None:
        raise AssertionError("called")

    for payload in ({}, {"days": "x"}, {"days": None}, {"dys": 3}, {"days": 3, "context": 1}):
        outcome = outcome_of(handler, **payload)
        assert (outcome.status, outcome.error_category) == ("failed", "payload")
        assert "scheduled_tasks.exceptions.InvalidPayload" in outcome.error


def test_a_handler_that_is_gone_is_a_failure(registry: HandlerRegistry, run: Run) -> None:
    outcome = perform(
        run,
        clock=lambda: run.scheduled_for,
        recorder=NullRecorder(),
        cancellation=Cancellation(),
    )
    assert (outcome.status, outcome.error_category) == ("failed", "permanent")
    assert "No handler is called 'shop.job'" in outcome.error
