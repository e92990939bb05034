"""Runs the code at once, in the thread that asks: for ``runtask`` and for tests."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.connections import unbroken_transactions
from scheduled_tasks.executors.local_run import LocalRun
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Outcome, Run


class InlineExecutor(Executor):
    """Runs each attempt to its end before ``submit`` returns.

    Its messages are written after it, unless it is ``accompanied`` by a thread that writes them
    meanwhile. ``on_said`` hears each of them at once.
    """

    def __init__(
        self,
        *,
        accompanied: bool = False,
        on_said: Callable[[Message], None] = lambda message: None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.accompanied = accompanied
        self.on_said = on_said
        self._local: LocalRun | None = None

    @property
    def full(self) -> bool:
        """Say whether a run must wait before it says more: not where nobody would make room."""
        return self.accompanied and super().full

    def begin(self, run: Run) -> None:
        """Make the attempt."""
        self.deliver(self.attempt(run))

    def attempt(self, run: Run) -> Outcome:
        """Make the attempt and return how it ended."""
        with unbroken_transactions():
            self._local = LocalRun(self, run, on_error=self.note_error)
            return self._local.perform()

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask the run to stop."""
        run = self._local.run if self._local else None
        if self._local and run and (run.execution_id, run.attempt) == (execution_id, attempt):
            self._local.cancel(reason)

    def note_error(self, error: BaseException) -> None:
        """Learn what a handler has raised; its words are in the outcome."""

    def take(self, run: Run, message: Message, answer: Callable[[bool], None]) -> None:
        """Take a message; one that nobody writes before the run has ended is as good as written."""
        with suppress(Exception):  # whoever looks on must not fail the run
            self.on_said(message)
        super().take(run, message, answer)
        if not self.accompanied:
            answer(True)
