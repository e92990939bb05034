"""Runs the code at once, in the thread that asks: for ``runtask`` and for tests."""

from __future__ import annotations

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.runner import perform
from scheduled_tasks.runs import Run


class InlineExecutor(Executor):
    """Runs each attempt to its end before ``submit`` returns."""

    def begin(self, run: Run) -> None:
        """Make the attempt."""
        self.deliver(perform(run, clock=self.clock))
