"""Runs the code at once, in the thread that asks: for ``runtask`` and for tests."""

from __future__ import annotations

from collections.abc import Callable

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.local import LocalRun
from scheduled_tasks.messages import Message
from scheduled_tasks.runs import Run


class InlineExecutor(Executor):
    """Runs each attempt to its end before ``submit`` returns; messages are written after it."""

    full = False  # nobody makes room while a run goes on

    def begin(self, run: Run) -> None:
        """Make the attempt."""
        self.deliver(LocalRun(self, run).perform())

    def take(self, run: Run, message: Message, answer: Callable[[bool], None]) -> None:
        """Take a message that nobody writes before the run has ended."""
        super().take(run, message, answer)
        answer(True)
