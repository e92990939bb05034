"""One attempt that succeeds: what its handler gets, and what is stored of its result."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date, datetime
from functools import partial
from typing import Any

import pytest
from django.utils.functional import Promise

from scheduled_tasks import TaskContext
from scheduled_tasks.signals import execution_started
from tests.executors.conftest import Perform


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


def broken(*names: str, base: type = dict, error: BaseException) -> Any:
    """Return an instance of a class that raises an error in these methods."""

    def method(*_: Any) -> None:
        raise error

    return type("Odd", (base,), dict.fromkeys(names, method))()


@pytest.mark.parametrize("error", [ValueError(), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        partial(broken, "get", "__contains__", "__getitem__"),
        partial(broken, "items"),
        partial(broken, "__iter__", base=list),
        partial(broken, "__getattribute__", base=object),
        partial(broken, "__str__", base=Promise),
    ],
    ids=["get", "items", "iter", "getattribute", "lazy text"],
)
def test_a_result_that_raises_is_no_failure(
    outcome_of: Perform, make: Callable[..., Any], error: BaseException
) -> None:
    result = make(error=error)
    assert outcome_of(lambda: result).status == "success"
    assert outcome_of(lambda: {"a": [result]}).status == "success"


def test_an_odd_dictionary_is_read_all_the_same(outcome_of: Perform) -> None:
    result = broken("get", "__contains__", error=SystemExit(3))
    result["rows"] = 5
    assert outcome_of(lambda: result).result == {"rows": 5}


def test_a_result_of_ten_megabytes_is_cut(outcome_of: Perform) -> None:
    def handler() -> str:
        return "😀" * 10_000_000

    outcome = outcome_of(handler)
    assert outcome.status == "success"
    assert len(outcome.result) <= 100_000


def test_receivers_hear_the_start_and_stop_nothing(
    outcome_of: Perform,
) -> None:
    heard: list[TaskContext] = []

    def handler() -> str:
        return "done"

    def deaf(**_: Any) -> None:
        sys.exit(3)

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
