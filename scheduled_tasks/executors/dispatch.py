"""The executors of one worker: each run goes to the executor that its task names."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable
from time import monotonic
from typing import Any

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.executors import executor_class
from scheduled_tasks.executors.base import NEVER, Executor, ExecutorBrokenError
from scheduled_tasks.executors.endings import failed
from scheduled_tasks.runtime.messages import Envelope
from scheduled_tasks.runtime.runs import Ending, Run
from scheduled_tasks.runtime.sanitizing import redacted_text

logger = logging.getLogger(__name__)

#: Seconds until an executor that could not be opened is tried again: a try takes long.
REOPEN_SECONDS = 60.0


class Dispatcher:
    """Submits each run to the executor that it names, or to the worker's default.

    ``concurrency`` limits all of them together. Executors other than the default are opened when
    the first run names them. ``options`` are passed to each Executor.
    """

    def __init__(
        self,
        default: type[Executor] | str,
        *,
        concurrency: int,
        monotonic: Callable[[], float] = monotonic,
        **options: Any,
    ) -> None:
        self.concurrency = concurrency
        self.options = {"concurrency": concurrency, **options}
        self.default = executor_class(default) if isinstance(default, str) else default
        self.executors: dict[type[Executor], Executor] = {}
        self._monotonic = monotonic
        #: Why an executor could not be opened, and when that is tried again.
        self._broken: dict[type[Executor], tuple[str, float]] = {}
        self._undeliverable: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        self._lease_until: float | None = None

    def open(self) -> None:
        """Open the default executor. Raise ExecutorBrokenError."""
        self.opened(self.default)

    def opened(self, kind: type[Executor]) -> Executor:
        """Return the executor of a class, opened first if needed. Raise ExecutorBrokenError."""
        if kind not in self.executors:
            reason, until = self._broken.get(kind, ("", 0.0))
            if self._monotonic() < until:
                raise ExecutorBrokenError(reason)
            self.executors[kind] = self._open(kind)
        return self.executors[kind]

    def _open(self, kind: type[Executor]) -> Executor:
        executor = kind(**self.options)
        # Before it opens: a fork server has to know the lease from its first moment.
        if self._lease_until is not None:
            executor.extend_lease(self._lease_until)
        try:
            executor.open()
        except BaseException as error:
            # Otherwise each run that names it would leave a fork server and a thread behind.
            executor.close()
            if isinstance(error, ExecutorBrokenError):
                self._broken[kind] = str(error), self._monotonic() + REOPEN_SECONDS
            raise
        return executor

    def check(self) -> None:
        """Raise ExecutorBrokenError if one of them can no longer run anything."""
        for executor in self.executors.values():
            executor.check()

    @property
    def in_hand(self) -> list[Run]:
        """The runs that were submitted and have not ended."""
        return [run for executor in self.executors.values() for run in executor.in_hand.values()]

    @property
    def free(self) -> int:
        """The number of further runs that are accepted now."""
        return min(self.concurrency - len(self.in_hand), self.opened(self.default).free)

    @property
    def all_ended(self) -> bool:
        """Whether the endings of all runs in hand have been delivered."""
        return all(executor.all_ended for executor in self.executors.values())

    @property
    def stuck(self) -> set[int]:
        """The executions in hand that neither stop nor can be killed."""
        return {number for executor in self.executors.values() for number in executor.stuck}

    @property
    def leaves_code_running(self) -> bool:
        """Whether abandoned code may still be running."""
        return any(executor.leaves_code_running for executor in self.executors.values())

    @property
    def messages_due(self) -> float:
        """When, by the monotonic clock, messages must be written."""
        return min((executor.messages_due for executor in self.executors.values()), default=NEVER)

    def sends_begun(self, run: Run) -> bool:
        """Whether the executor of a run reports when it begins."""
        try:
            return self.class_for(run).sends_begun
        except InvalidSettings:
            return True  # it does not begin

    def class_for(self, run: Run) -> type[Executor]:
        """Return the class of the executor of a run. Raise InvalidSettings."""
        return executor_class(run.executor) if run.executor else self.default

    def submit(self, run: Run) -> None:
        """Submit a run. It fails if its executor does not exist or cannot be opened."""
        try:
            executor = self.opened(self.class_for(run))
        except (InvalidSettings, ExecutorBrokenError) as error:
            now = self.options["clock"]()
            self._undeliverable.put(
                failed(run, "permanent", str(error), started_at=now, finished_at=now)
            )
        else:
            self._submit(run, executor)

    def _submit(self, run: Run, executor: Executor) -> None:
        """Submit a run to its executor. A row that this cannot bear fails its run, not the loop."""
        try:
            executor.submit(run)
        except Exception as error:
            logger.exception("a run could not be submitted execution=%s", run.execution_id)
            reason = f"It could not be handed to its executor: {type(error).__name__}: {error}"
            now = self.options["clock"]()
            executor.deliver(
                failed(run, "permanent", redacted_text(reason), started_at=now, finished_at=now)
            )

    def extend_lease(self, until: float) -> None:
        """Tell all executors until when the runs in hand may continue."""
        self._lease_until = until
        # A copy: the heartbeat's thread calls this while the main thread may open another.
        for executor in list(self.executors.values()):
            executor.extend_lease(until)

    def finished(self) -> list[Ending]:
        """Return the endings since the last call."""
        endings = [self._undeliverable.get() for _ in range(self._undeliverable.qsize())]
        for executor in self.executors.values():
            endings += executor.finished()
        return endings

    def messages(self) -> list[Envelope]:
        """Return the messages since the last call."""
        return [sent for executor in self.executors.values() for sent in executor.messages()]

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask one run to stop. One that is not in hand, or already stopping, is left alone."""
        for executor in self.executors.values():
            run = executor.in_hand.get(execution_id)
            if run is not None and run.attempt == attempt:
                executor.cancel(execution_id, attempt, reason)

    def abandon(self) -> None:
        """End all runs in hand without waiting for them."""
        for executor in self.executors.values():
            executor.abandon()

    def close(self) -> None:
        for executor in self.executors.values():
            executor.close()
