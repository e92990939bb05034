"""Executors that cannot be opened: nothing of them is left, and they are not tried all the time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scheduled_tasks.executors.base import Executor, ExecutorBrokenError
from scheduled_tasks.executors.dispatch import REOPEN_SECONDS, Dispatcher
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.runtime.runs import Outcome, Run
from tests.executors.runs import clock, run_of


class Balky(Executor):
    """Notes what becomes of it; it cannot be opened."""

    made: list[Balky]
    error: Exception = ExecutorBrokenError("no room")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.closed = False
        self.made.append(self)

    def open(self) -> None:
        """Fail."""
        raise self.error

    def begin(self, run: Run) -> None:
        """Take nothing."""
        raise AssertionError(run)

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> list[Balky]:
    """Return the executors that were made."""
    made: list[Balky] = []
    monkeypatch.setattr(Balky, "made", made, raising=False)
    return made


def test_an_executor_that_cannot_open_is_retried_later(
    made: list[Balky],
) -> None:
    now = 0.0
    dispatcher = Dispatcher(InlineExecutor, concurrency=2, clock=clock, monotonic=lambda: now)
    for moment, tries in ((0.0, 1), (1.0, 1), (REOPEN_SECONDS - 1, 1), (REOPEN_SECONDS, 2)):
        now = moment
        dispatcher.submit(replace(run_of(1), executor=f"{__name__}.Balky"))
        [ending] = dispatcher.finished()
        assert isinstance(ending, Outcome)
        assert (ending.status, ending.error) == ("failed", "no room")
        assert len(made) == tries
    assert all(executor.closed for executor in made)
    assert not dispatcher.executors


def test_an_executor_whose_opening_crashes_is_closed(
    made: list[Balky], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Balky, "error", ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        Dispatcher(Balky, concurrency=2, clock=clock).open()
    assert [executor.closed for executor in made] == [True]


def test_a_workers_own_says_the_same_again(made: list[Balky]) -> None:
    dispatcher = Dispatcher(Balky, concurrency=2, clock=clock)
    for _ in range(2):
        with pytest.raises(ExecutorBrokenError, match="no room"):
            dispatcher.open()
    assert len(made) == 1
    dispatcher.close()
