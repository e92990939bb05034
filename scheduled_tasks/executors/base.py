"""The interface of executors: accept runs, and return their messages and their endings."""

from __future__ import annotations

import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import ClassVar

from scheduled_tasks.executors.endings import failed
from scheduled_tasks.runtime.messages import Envelope, Message
from scheduled_tasks.runtime.runs import Ending, Outcome, Run
from scheduled_tasks.runtime.validation import (
    InvalidReportError,
    checked_message,
    checked_outcome,
)

#: A message is written at most this long after it was sent.
MESSAGE_DELAY_SECONDS = 0.5
#: A run waits before it sends more while at least this many messages are unwritten.
MAX_UNWRITTEN_MESSAGES = 10_000
#: Later than any moment of the monotonic clock.
NEVER = float("inf")


class ExecutorBrokenError(RuntimeError):
    """An executor cannot run anything, so its worker must exit."""


class Executor(ABC):
    """Runs the code of attempts, at most ``concurrency`` at a time.

    It does not touch the database: the worker claims a run before it submits it, writes what
    ``messages`` and ``finished`` return, and answers each message. ``on_finished`` is called, from
    any thread, when there is something to collect immediately, ``on_message`` when there is
    something that may wait until ``messages_due``.
    """

    #: Can it end a run that does not stop when it is asked to?
    can_kill: ClassVar[bool] = False
    #: Does it send ``Begun``, and call the handler only when that is written, where it is awaited?
    sends_begun: ClassVar[bool] = False
    #: Can it measure the memory of a run, and end one that uses too much?
    can_limit_memory: ClassVar[bool] = False

    def __init__(
        self,
        *,
        concurrency: int,
        clock: Callable[[], datetime],
        on_finished: Callable[[], None] = lambda: None,
        on_message: Callable[[], None] = lambda: None,
    ) -> None:
        self.concurrency = concurrency
        self.clock = clock
        self.on_finished = on_finished
        self.on_message = on_message
        self.in_hand: dict[int, Run] = {}
        #: When each run in hand was accepted, by the clock.
        self._accepted: dict[int, datetime] = {}
        #: When, by the monotonic clock, the first unwritten message must be written.
        self.messages_due = NEVER
        self._endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[Envelope] = queue.SimpleQueue()
        #: The number of the last message of each attempt in hand.
        self._numbers: dict[tuple[int, int], int] = {}
        self._numbering = threading.Lock()

    def open(self) -> None:
        """Get ready to accept runs. Raise ExecutorBrokenError with the reason if it cannot."""

    def check(self) -> None:
        """Raise ExecutorBrokenError if it can no longer run anything."""

    @property
    def free(self) -> int:
        """The number of further runs that it accepts now."""
        return self.concurrency - len(self.in_hand)

    @property
    def stuck(self) -> frozenset[int]:
        """The executions in hand that neither stop nor can be killed."""
        return frozenset()

    @property
    def leaves_code_running(self) -> bool:
        """Whether abandoned code may still be running, so that the process must exit."""
        return False

    def submit(self, run: Run) -> None:
        """Accept a run. ``finished`` returns its ending later."""
        self.in_hand[run.execution_id] = run
        self._accepted[run.execution_id] = self.clock()
        self.begin(run)

    @abstractmethod
    def begin(self, run: Run) -> None:
        """Start a run without waiting for it to end."""

    def extend_lease(self, until: float) -> None:
        """Receive the moment, by ``clock.boottime()``, until which the runs may continue."""

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask one run to stop, and kill it if it does not stop and can be killed.

        A run that is not in hand, or is already stopping, is left alone. This default does
        nothing: it suits executors whose runs end before they can be cancelled.
        """

    def abandon(self) -> None:
        """End all runs in hand without waiting for them. ``finished`` returns their endings."""

    def deliver(self, ending: Ending) -> None:
        """Queue an ending for ``finished``. Safe from any thread."""
        self._endings.put(ending)
        self.on_finished()

    def finished(self) -> list[Ending]:
        """Return the endings since the last call, checked, at most one for each run in hand."""
        endings = []
        while not self._endings.empty():
            ending = self._endings.get()
            run = self.in_hand.get(ending.execution_id)
            # A run in a thread that was abandoned may end by itself later: its first ending counts.
            if run is not None and run.attempt == ending.attempt:
                del self.in_hand[ending.execution_id]
                self._numbers.pop((ending.execution_id, ending.attempt), None)
                endings.append(self._checked(run, ending))
        return endings

    def _checked(self, run: Run, ending: Ending) -> Ending:
        """Return an ending that can be stored; a run that has reported nonsense has failed."""
        accepted, now = self._accepted.pop(run.execution_id), self.clock()
        if not isinstance(ending, Outcome):
            return ending
        try:
            return checked_outcome(ending, earliest=accepted, now=now)
        except InvalidReportError as error:
            reason = f"The run reported an invalid end: {error}."
            return failed(run, "crash", reason, started_at=accepted, finished_at=now)

    @property
    def all_ended(self) -> bool:
        """Whether the endings of all runs in hand have been delivered."""
        return self._endings.qsize() >= len(self.in_hand)

    @property
    def backlogged(self) -> bool:
        """Whether runs must wait to send messages: too many are unwritten."""
        return self._messages.qsize() >= MAX_UNWRITTEN_MESSAGES

    def receive(self, run: Run, message: Message, answer: Callable[[bool], None]) -> None:
        """Receive a message of a run, from any thread. Callers wait while ``backlogged``.

        Raise InvalidReportError for what is no message of a run.
        """
        claim, message = (run.execution_id, run.attempt), checked_message(message)
        # Held until it is queued: a number below the row's count is taken as written.
        with self._numbering:
            number = self._numbers[claim] = self._numbers.get(claim, run.message_count) + 1
            sent = Envelope(
                execution_id=run.execution_id,
                attempt=run.attempt,
                number=number,
                message=message,
                answer=answer,
            )
            self._messages.put(sent)
        if self.messages_due == NEVER:
            self.messages_due = monotonic() + MESSAGE_DELAY_SECONDS
            self.on_message()

    def messages(self) -> list[Envelope]:
        """Return the messages of runs since the last call, in order."""
        self.messages_due = NEVER
        return [self._messages.get() for _ in range(self._messages.qsize())]

    def close(self) -> None:
        """Accept no more runs, kill those that can be killed, and release all resources."""
