"""The executors of one worker: each run goes where its task wants it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.executors import executor_class
from scheduled_tasks.executors.base import NEVER, Executor, ExecutorBrokenError
from scheduled_tasks.executors.endings import failed
from scheduled_tasks.runtime.messages import Envelope
from scheduled_tasks.runtime.runs import Ending, Run

#: An executor that could not be opened is left at that for so many seconds: trying takes long.
REOPEN_SECONDS = 60.0


class Dispatcher:
    """Hands each run to the executor that it names, or to the worker's own.

    ``concurrency`` bounds all of them together. Executors besides the worker's own are opened
    when the first run asks for them. What it takes besides is what an Executor takes.
    """

    def __init__(
        self,
        default: type[Executor] | str,
        *,
        concurrency: int,
        monotonic: Callable[[], float] = time.monotonic,
        **options: Any,
    ) -> None:
        self.concurrency = concurrency
        self.options = {"concurrency": concurrency, **options}
        self.default = executor_class(default) if isinstance(default, str) else default
        self.executors: dict[type[Executor], Executor] = {}
        self._monotonic = monotonic
        #: Why executors could not be opened, and from when on that is tried again.
        self._broken: dict[type[Executor], tuple[str, float]] = {}
        self._misdirected: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        self._lease_until: float | None = None

    def open(self) -> None:
        """Open the worker's own executor. Raise ExecutorBrokenError."""
        self.opened(self.default)

    def opened(self, kind: type[Executor]) -> Executor:
        """Return the executor of a kind, opened if it was not. Raise ExecutorBrokenError."""
        if kind not in self.executors:
            reason, until = self._broken.get(kind, ("", 0.0))
            if self._monotonic() < until:
                raise ExecutorBrokenError(reason)
            self.executors[kind] = self._open(kind)
        return self.executors[kind]

    def _open(self, kind: type[Executor]) -> Executor:
        executor = kind(**self.options)
        if self._lease_until is not None:
            executor.extend_lease(self._lease_until)
        try:
            executor.open()
        except BaseException as error:
            executor.close()
            if isinstance(error, ExecutorBrokenError):
                self._broken[kind] = str(error), self._monotonic() + REOPEN_SECONDS
            raise
        return executor

    def check(self) -> None:
        """Raise ExecutorBrokenError if one of them can run nothing any more."""
        for executor in self.executors.values():
            executor.check()

    @property
    def in_hand(self) -> list[Run]:
        """Return the runs that have been submitted and not ended."""
        return [run for executor in self.executors.values() for run in executor.in_hand.values()]

    @property
    def free(self) -> int:
        """Return how many more runs can be taken now."""
        return min(self.concurrency - len(self.in_hand), self.opened(self.default).free)

    @property
    def all_ended(self) -> bool:
        """Say whether of everything in hand the ending has come in."""
        return all(executor.all_ended for executor in self.executors.values())

    @property
    def stuck(self) -> set[int]:
        """Return the executions in hand that neither end nor can be ended."""
        return {number for executor in self.executors.values() for number in executor.stuck}

    @property
    def leaves_code_running(self) -> bool:
        """Say whether code that was abandoned may still run."""
        return any(executor.leaves_code_running for executor in self.executors.values())

    @property
    def messages_due(self) -> float:
        """Return when, by the monotonic clock, what runs have said has to be written."""
        return min((executor.messages_due for executor in self.executors.values()), default=NEVER)

    def submit(self, run: Run) -> None:
        """Hand a run over; one whose executor there is not, or cannot run, ends as failed."""
        try:
            kind = executor_class(run.executor) if run.executor else self.default
            executor = self.opened(kind)
        except (InvalidSettings, ExecutorBrokenError) as error:
            now = self.options["clock"]()
            self._misdirected.put(
                failed(run, "permanent", str(error), started_at=now, finished_at=now)
            )
        else:
            executor.submit(run)

    def extend_lease(self, until: float) -> None:
        """Let all of them know until when nobody else may run what is in hand."""
        self._lease_until = until
        for executor in list(self.executors.values()):
            executor.extend_lease(until)

    def finished(self) -> list[Ending]:
        """Return the endings that have come in since the last call."""
        endings = [self._misdirected.get() for _ in range(self._misdirected.qsize())]
        for executor in self.executors.values():
            endings += executor.finished()
        return endings

    def messages(self) -> list[Envelope]:
        """Return what runs have said since the last call."""
        return [sent for executor in self.executors.values() for sent in executor.messages()]

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask one run to stop; one that is not in hand, or asked already, changes nothing."""
        for executor in self.executors.values():
            run = executor.in_hand.get(execution_id)
            if run is not None and run.attempt == attempt:
                executor.cancel(execution_id, attempt, reason)

    def abandon(self) -> None:
        """Bring everything in hand to an end without waiting for it."""
        for executor in self.executors.values():
            executor.abandon()

    def close(self) -> None:
        """Let go of everything; end what can be ended."""
        for executor in self.executors.values():
            executor.close()
