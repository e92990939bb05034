"""One attempt whose exception is broken itself: it has an outcome all the same."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from scheduled_tasks.exceptions import RetryLater, Skip
from scheduled_tasks.runtime.runs import Partial
from tests.executors.conftest import Perform
from tests.executors.runs import raising


class EvilMeta(type):
    """Makes exception classes whose attributes all raise."""

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
    assert outcome.error.endswith(" (its delay is not between 0 and 366 days)")


@pytest.mark.parametrize(
    "delay", [10**5000, -(10**5000), float("inf"), float("nan"), -1], ids=lambda _: ""
)
def test_an_invalid_delay_fails_with_a_sentence(outcome_of: Perform, delay: float) -> None:
    def handler() -> None:
        raise RetryLater(delay)

    outcome = outcome_of(handler)
    assert outcome.status == "failed"
    assert outcome.error.startswith("ValueError: RetryLater takes a delay of 0 to 366 days, not ")


def test_reasons_that_cannot_be_shown_change_no_status(outcome_of: Perform) -> None:
    def handler() -> Partial:
        return Partial(1, EvilText("x"))

    assert outcome_of(handler).status == "partial"
    skip = Skip()
    skip.args = (EvilText("x"),)
    outcome = outcome_of(raising(skip))
    assert outcome.status == "skipped"
    assert "KeyboardInterrupt" in outcome.reason
