"""A run in a thread of this process: what it says, its timeout, and what can be done about it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import LeaseLost, RunCancelled, TimeLimitExceeded
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.connections import holds_the_only_write_lock
from scheduled_tasks.executors.endings import LEASE_LOST, still_running_reason, timeout_reason
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.logs.printed_output import is_handling
from scheduled_tasks.runtime.messages import ExecutorNote, Message
from scheduled_tasks.runtime.runs import Outcome, Run

#: A thread that waits looks up so often, in seconds: no exception reaches it while it waits.
POLL_SECONDS = 0.2


class LocalRun:
    """One run in a thread. It is its own recorder: what it says goes to the executor's queue."""

    def __init__(
        self,
        executor: Executor,
        run: Run,
        *,
        on_ignored: Callable[[], None] = lambda: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.executor = executor
        self.run = run
        self.on_ignored = on_ignored
        self.on_error = on_error
        self.cancellation = Cancellation()
        self.started_at = executor.clock()
        self._refused = False
        self._over = False
        self._timing = threading.Lock()
        self._timer: threading.Timer | None = None

    def perform(self) -> Outcome:
        """Make the attempt, with its timeout."""
        if self.run.timeout is not None:
            self._start_timer(self.run.timeout, self._time_out)
        try:
            return perform(
                self.run,
                clock=self.executor.clock,
                recorder=self,
                cancellation=self.cancellation,
                on_error=self.on_error,
            )
        finally:
            with self._timing:
                self._over = True
                if self._timer is not None:
                    self._timer.cancel()

    @property
    def timed_out(self) -> bool:
        """Say whether it has reached its timeout."""
        return self.cancellation.error is TimeLimitExceeded

    @property
    def cancelled(self) -> bool:
        """Say whether it was cancelled before it had to stop for another reason."""
        return self.cancellation.error is RunCancelled

    def cancel(self, reason: str) -> None:
        """Ask it to stop, once."""
        if not self.cancellation.requested:
            self.cancellation.request(RunCancelled, reason)

    def send(self, message: Message) -> None:
        """Hand a message over and go on."""
        self._wait_for_room()
        self.executor.take(self.run, message, self._answer)

    def confirm(self, message: Message) -> None:
        """Hand a message over and wait until it is written."""
        if holds_the_only_write_lock():
            self.send(message)
            return
        self._wait_for_room()
        answered = threading.Event()

        def answer(accepted: bool) -> None:  # noqa: FBT001
            self._answer(accepted)
            answered.set()

        asked_before = self.cancellation.requested
        self.executor.take(self.run, message, answer)
        self.executor.on_finished()
        while not answered.wait(POLL_SECONDS):
            if not asked_before:
                self.cancellation.check()
        self._raise_if_refused()

    def _wait_for_room(self) -> None:
        self._raise_if_refused()
        # Nobody makes room for who keeps others from writing, or from logging.
        while self.executor.full and not (holds_the_only_write_lock() or is_handling()):
            time.sleep(POLL_SECONDS)
            self._raise_if_refused()

    def _raise_if_refused(self) -> None:
        if self._refused:
            raise LeaseLost(LEASE_LOST)

    def _answer(self, accepted: bool) -> None:  # noqa: FBT001
        if not accepted and not self._refused:
            self._refused = True
            self.cancellation.request(LeaseLost, LEASE_LOST)

    def _time_out(self) -> None:
        self.cancellation.request(TimeLimitExceeded, timeout_reason(self.run))
        if self.timed_out or self.cancelled:
            self.executor.take(
                self.run, ExecutorNote(text=still_running_reason(self.run)), self._answer
            )
            self._start_timer(app_settings.KILL_GRACE, self._note_ignored)

    def _note_ignored(self) -> None:
        if not self._over:
            self.on_ignored()

    def _start_timer(self, seconds: float, function: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, function)
        timer.daemon = True
        timer.name = f"timeout-{self.run.execution_id}"
        with self._timing:
            if not self._over:
                self._timer = timer
                timer.start()
