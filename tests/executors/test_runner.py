"""One attempt, whatever the handler does: it always has an outcome, and it can be stored."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, connection

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.exceptions import InvalidSchedule, RetryLater, Skip
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import NullRecorder
from scheduled_tasks.runtime.runs import Outcome, Partial, Run
from scheduled_tasks.signals import execution_started
from tests.support.registries import isolated

Perform = Callable[..., Outcome]


@pytest.fixture
def run(now: datetime) -> Run:
    return Run(
        execution_id=7,
        attempt=2,
        task_name="one",
        handler="shop.job",
        scheduled_for=now,
        trigger="schedule",
        schedule="0 2 * * *",
        triggered_by="user:ada",
    )


@pytest.fixture
def outcome_of(registry: HandlerRegistry, run: Run, now: datetime) -> Perform:
    """Return a function that runs a handler once and checks that its outcome can be stored."""

    def once(function: Callable[..., Any], **payload: Any) -> Outcome:
        seconds = count()
        with isolated(registry):
            scheduled_task(name="shop.job")(function)
            outcome = perform(
                replace(run, payload=payload),
                clock=lambda: now + timedelta(seconds=next(seconds)),
                recorder=NullRecorder(),
                cancellation=Cancellation(),
            )
        assert (outcome.execution_id, outcome.attempt) == (7, 2)
        # Lines of the log ask for the time, too.
        assert outcome.started_at == now < outcome.finished_at
        assert outcome.duration_ms >= 0
        for text in (outcome.error, outcome.traceback, outcome.reason):
            assert "\0" not in text
            text.encode()
        json.dumps(outcome.result, allow_nan=False)
        assert len(outcome.error) <= 2000
        assert len(outcome.traceback) <= 100_000
        assert len(outcome.error_category) <= 20
        assert len(outcome.error_fingerprint) in (0, 32)
        return outcome

    return once


def raising(error: BaseException) -> Callable[[], None]:
    def handler() -> None:
        raise error

    return handler


def test_a_result_is_a_success(outcome_of: Perform) -> None:
    def handler(*, days: int = 30) -> dict[str, int]:
        return {"deleted": days}

    outcome = outcome_of(handler, days=3)
    assert (outcome.status, outcome.result) == ("success", {"deleted": 3})
    assert (outcome.error, outcome.traceback, outcome.error_fingerprint) == ("", "", "")
    assert outcome_of(handler).result == {"deleted": 30}


def test_a_handler_gets_python_values_and_its_context(outcome_of: Perform, now: datetime) -> None:
    def handler(about: TaskContext, *, day: date) -> list[Any]:
        assert isinstance(day, date)
        assert about.payload == {"day": "2026-03-01"}
        assert (about.scheduled_for, about.trigger) == (now, "schedule")
        about.logger.info("hello")
        return [about.task_name, about.execution_id, about.attempt, about.schedule, day]

    outcome = outcome_of(handler, day="2026-03-01")
    assert outcome.result == ["one", 7, 2, "0 2 * * *", "2026-03-01"]


def test_records_of_the_contexts_logger_carry_the_run(
    outcome_of: Perform, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(context: TaskContext) -> None:
        context.logger.warning("look")

    outcome_of(handler)
    [record] = [record for record in caplog.records if record.message == "look"]
    assert record.name == "scheduled_tasks.run.one"
    assert (record.__dict__["task"], record.__dict__["execution"]) == ("one", 7)


def test_a_failure_keeps_error_and_handlers_traceback(outcome_of: Perform) -> None:
    def handler() -> None:
        {}["missing"]

    outcome = outcome_of(handler)
    assert (outcome.status, outcome.error_category) == ("failed", "logic")
    assert outcome.error == "KeyError: 'missing'"
    assert outcome.result is None
    assert "test_runner.py" in outcome.traceback
    assert 'runner.py", line' not in outcome.traceback.replace("test_runner.py", "")


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


class EvilMeta(type):
    """Makes classes of exceptions of which nothing can be asked."""

    @property
    def __module__(cls) -> str:
        raise SystemExit("module")

    def __instancecheck__(cls, instance: object) -> bool:
        raise KeyboardInterrupt


class EvilError(Exception, metaclass=EvilMeta):
    """Raises whatever it is asked."""

    def __str__(self) -> str:
        raise SystemExit("str")

    __repr__ = __str__

    @property
    def __class__(self) -> type:
        raise GeneratorExit


class EvilText(str):
    """Cannot be shown."""

    __slots__ = ()

    def __str__(self) -> str:
        raise KeyboardInterrupt


class SelfDescribing(Exception):
    """Describes itself by describing itself."""

    def __str__(self) -> str:
        return f"{self}"


def exits_with_itself() -> SystemExit:
    error = SystemExit()
    error.code = error
    error.__cause__ = error
    return error


#: Made in the tests: pytest itself would ask them what they are.
BROKEN_ERRORS: dict[str, Callable[[], BaseException]] = {
    "evil": EvilError,
    "describes itself": SelfDescribing,
    "exits with itself": exits_with_itself,
    "exits with evil text": lambda: SystemExit(EvilText("x")),
    "group": lambda: ExceptionGroup("group", [ValueError(EvilText("x")), EvilError()]),
    "group in a group": lambda: BaseExceptionGroup("", [ExceptionGroup("", [EvilError()])]),
    "retry": lambda: RetryLater(1, EvilText("x")),
}


@pytest.mark.parametrize("kind", BROKEN_ERRORS)
def test_an_exception_broken_itself_fails_its_run(outcome_of: Perform, kind: str) -> None:
    outcome = outcome_of(raising(BROKEN_ERRORS[kind]()))
    assert outcome.status == "failed"
    assert outcome.error


@pytest.mark.parametrize("delay", ["soon", None, -1, float("nan"), timedelta(days=999), 10**400])
def test_a_subclass_with_an_invalid_delay_fails(outcome_of: Perform, delay: Any) -> None:
    class Later(RetryLater):
        def __init__(self) -> None:
            self.delay = delay

    outcome = outcome_of(raising(Later()))
    assert (outcome.status, outcome.retry_after) == ("failed", None)


def test_reasons_that_cannot_be_shown_change_no_status(outcome_of: Perform) -> None:
    def handler() -> Partial:
        return Partial(1, EvilText("x"))

    assert outcome_of(handler).status == "partial"
    skip = Skip()
    skip.args = (EvilText("x"),)
    outcome = outcome_of(raising(skip))
    assert outcome.status == "skipped"
    assert "KeyboardInterrupt" in outcome.reason


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


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        (float("nan"), "nan"),
        ({1}, [1]),
        (b"raw", "b'raw'"),
        ("a\0\ud800", "a\N{REPLACEMENT CHARACTER}?"),
        (object, "<class 'object'>"),
    ],
)
def test_a_strange_result_is_no_failure(outcome_of: Perform, result: Any, stored: Any) -> None:
    def handler() -> Any:
        return result

    outcome = outcome_of(handler)
    assert (outcome.status, outcome.result) == ("success", stored)


def test_a_result_of_ten_megabytes_is_cut(outcome_of: Perform) -> None:
    def handler() -> str:
        return "😀" * 10_000_000

    outcome = outcome_of(handler)
    assert outcome.status == "success"
    assert len(outcome.result) <= 100_000


def test_a_coroutine_runs_to_its_end(outcome_of: Perform) -> None:
    async def handler(context: TaskContext, *, days: int = 30) -> int:
        await asyncio.sleep(0)
        return days

    assert outcome_of(handler, days=3).result == 3


def test_a_coroutine_behind_a_plain_decorator_runs_too(outcome_of: Perform) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "ran"

    @functools.wraps(inner)
    def handler() -> Any:
        return inner()

    assert outcome_of(handler).result == "ran"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "failed"),
        (SystemExit(1), "failed"),
        (KeyboardInterrupt(), "failed"),
        (GeneratorExit(), "failed"),
        (StopIteration(), "failed"),
        (asyncio.CancelledError(), "failed"),
    ],
    ids=repr,
)
def test_a_coroutine_that_raises_has_an_outcome(
    outcome_of: Perform, error: BaseException, status: str
) -> None:
    async def handler() -> None:
        await asyncio.sleep(0)
        raise error

    assert outcome_of(handler).status == status


@pytest.mark.django_db
def test_a_coroutine_uses_its_threads_database_connection(outcome_of: Perform) -> None:
    from asgiref.sync import sync_to_async  # noqa: PLC0415

    def mine() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return connection.in_atomic_block

    async def handler() -> bool:
        return await sync_to_async(mine)()

    assert outcome_of(handler).result is True


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


def test_receivers_hear_the_start_and_stop_nothing(
    outcome_of: Perform,
) -> None:
    heard: list[TaskContext] = []

    def handler() -> str:
        return "done"

    def deaf(**_: Any) -> None:
        raise RuntimeError("a receiver")

    def listen(sender: Any, context: TaskContext, **_: Any) -> None:
        heard.append(context)

    def elsewhere(**_: Any) -> None:
        raise AssertionError("not of this sender")

    execution_started.connect(deaf)
    execution_started.connect(listen, sender=handler)
    execution_started.connect(elsewhere, sender=deaf)
    try:
        assert outcome_of(handler).result == "done"
    finally:
        execution_started.disconnect(deaf)
        execution_started.disconnect(listen, sender=handler)
        execution_started.disconnect(elsewhere, sender=deaf)
    assert [context.execution_id for context in heard] == [7]
