"""Runs the code at once, in the thread that asks: for ``runtask`` and for tests."""

from __future__ import annotations

from collections.abc import Callable

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.leftovers import unbroken_transactions
from scheduled_tasks.executors.local import LocalRun
from scheduled_tasks.messages import Message
from scheduled_tasks.runs import Outcome, Run


class InlineExecutor(Executor):
    """Runs each attempt to its end before ``submit`` returns; messages are written after it."""

    full = False  # nobody makes room while a run goes on

    def begin(self, run: Run) -> None:
        """Make the attempt."""
        self.deliver(self.attempt(run))

    def attempt(self, run: Run) -> Outcome:
        """Make the attempt and return how it ended."""
        with unbroken_transactions():
            return LocalRun(self, run, on_error=self.note_error).perform()

    def note_error(self, error: BaseException) -> None:
        """Learn what a handler has raised; its words are in the outcome."""

    def take(self, run: Run, message: Message, answer: Callable[[bool], None]) -> None:
        """Take a message that nobody writes before the run has ended."""
        super().take(run, message, answer)
        answer(True)
