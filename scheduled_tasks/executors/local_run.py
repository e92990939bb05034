"""A run in a thread of this process: its messages, its timeout, and how it is asked to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import sleep

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import LeaseLost, RunCancelled, TimeLimitExceeded
from scheduled_tasks.executors.base import Executor
from scheduled_tasks.executors.connections import holds_the_only_write_lock
from scheduled_tasks.executors.endings import (
    FINISH_SECONDS,
    LEASE_LOST,
    ignored_timeout_reason,
    still_running_reason,
    timeout_reason,
    unfinished_reason,
)
from scheduled_tasks.executors.runner import perform
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.logs.logging_internals import called_by_handler
from scheduled_tasks.runtime.messages import ExecutorNote, Message
from scheduled_tasks.runtime.runs import Outcome, Run

#: How often a waiting thread checks for a stop: no exception reaches it while it waits.
POLL_SECONDS = 0.2


class LocalRun:
    """One run in a thread. It is its own recorder: messages go to the executor's queue."""

    def __init__(
        self,
        executor: Executor,
        run: Run,
        *,
        on_stuck: Callable[[str], None] = lambda reason: None,
        on_error: Callable[[BaseException], None] = lambda error: None,
    ) -> None:
        self.executor = executor
        self.run = run
        self.on_stuck = on_stuck
        self.on_error = on_error
        self.cancellation = Cancellation()
        self.started_at = executor.clock()
        self._refused = False
        self._over = False
        self._timing = threading.Lock()
        self._timer: threading.Timer | None = None

    def perform(self) -> Outcome:
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
        return self.cancellation.error is TimeLimitExceeded

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled before it had to stop for another reason."""
        return self.cancellation.error is RunCancelled

    def cancel(self, reason: str) -> None:
        """Ask it to stop, unless it already has to."""
        if not self.cancellation.requested:
            self.cancellation.request(RunCancelled, reason)

    def interrupt(self, reason: str) -> None:
        """Stop it as Ctrl-C does, again at each call; to be called in a signal handler."""
        self.cancellation.request(RunCancelled, reason, raised=KeyboardInterrupt)

    def send(self, message: Message) -> None:
        self._wait_for_room()
        self.executor.receive(self.run, message, self._answer)

    def confirm(self, message: Message) -> None:
        # On SQLite, the answer could only come after this transaction.
        if holds_the_only_write_lock():
            self.send(message)
            return
        self._wait_for_room()
        answered = threading.Event()

        def answer(accepted: bool) -> None:  # noqa: FBT001
            self._answer(accepted)
            answered.set()

        # A handler that cleans up after it was asked to stop can still write a checkpoint.
        asked_before = self.cancellation.requested
        self.executor.receive(self.run, message, answer)
        # The worker writes at once, since the handler waits.
        self.executor.on_finished()
        while not answered.wait(POLL_SECONDS):
            if not asked_before:
                self.cancellation.check()
        self._raise_if_refused()

    def _wait_for_room(self) -> None:
        self._raise_if_refused()
        # The worker cannot write while this thread holds the only write lock, nor log while it
        # holds the lock of a logging handler.
        while self.executor.backlogged and not (holds_the_only_write_lock() or called_by_handler()):
            sleep(POLL_SECONDS)
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
            self.executor.receive(
                self.run, ExecutorNote(text=still_running_reason(self.run)), self._answer
            )
            reason = ignored_timeout_reason(self.run)
            self._start_timer(app_settings.KILL_GRACE, self._report_stuck, reason)
        elif not self.cancellation.requested:
            # The handler has returned, and storing what it returned takes long.
            self._start_timer(FINISH_SECONDS, self._report_stuck, unfinished_reason("thread"))

    def _report_stuck(self, reason: str) -> None:
        if not self._over:
            self.on_stuck(reason)

    def _start_timer(self, seconds: float, function: Callable[..., None], *arguments: str) -> None:
        timer = threading.Timer(seconds, function, arguments)
        # Otherwise a process could not exit before the timeouts of its runs.
        timer.daemon = True
        timer.name = f"timeout-{self.run.execution_id}"
        # Or perform() could end in between, and the timer would never be cancelled.
        with self._timing:
            if not self._over:
                self._timer = timer
                timer.start()
