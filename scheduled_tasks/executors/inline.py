"""Runs the code immediately, in the calling thread: for ``runtask`` and for tests."""

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

    Its messages are written after the run, unless a thread writes them meanwhile
    (``has_writer``). ``observer`` is called with each message as it is sent.
    """

    sends_begun = True

    def __init__(
        self,
        *,
        has_writer: bool = False,
        observer: Callable[[Message], None] = lambda message: None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.has_writer = has_writer
        self.observer = observer
        self._local: LocalRun | None = None
        self._interrupted_by = ""

    @property
    def backlogged(self) -> bool:
        """Whether a run must wait before it sends more: not where no thread writes meanwhile."""
        return self.has_writer and super().backlogged

    def begin(self, run: Run) -> None:
        self.deliver(self.attempt(run))

    def attempt(self, run: Run) -> Outcome:
        """Make the attempt and return its outcome."""
        with unbroken_transactions():
            self._local = LocalRun(self, run, on_error=self.record_error)
            if self._interrupted_by:
                self._local.interrupt(self._interrupted_by)
            return self._local.perform()

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        run = self._local.run if self._local else None
        if self._local and run and (run.execution_id, run.attempt) == (execution_id, attempt):
            self._local.cancel(reason)

    def interrupt(self, reason: str) -> None:
        """Stop the run as Ctrl-C does, or the next one if none has begun; again at each call.

        To be called in a signal handler. A run that has ended is left alone.
        """
        self._interrupted_by = reason
        if self._local:
            self._local.interrupt(reason)

    def record_error(self, error: BaseException) -> None:
        """Receive the exception that a handler has raised; its text is in the outcome."""

    def receive(self, run: Run, message: Message, answer: Callable[[bool], None]) -> None:
        """Receive a message. Without a writer it counts as written: the run must not wait."""
        with suppress(Exception):  # an observer must not fail the run
            self.observer(message)
        super().receive(run, message, answer)
        if not self.has_writer:
            answer(True)
