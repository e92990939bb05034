"""What every executor can do: take runs, pass on what they say, and hand back how they ended."""

from __future__ import annotations

import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from scheduled_tasks.runtime.messages import Envelope, Message
from scheduled_tasks.runtime.runs import Ending, Run

#: What runs say is written at latest so many seconds after it was said.
MESSAGE_DELAY_SECONDS = 0.5
#: A run that says more than the worker has written waits until no more than this is unwritten.
MAX_UNWRITTEN_MESSAGES = 10_000
#: Later than any moment of the monotonic clock.
NEVER = float("inf")


class ExecutorBrokenError(RuntimeError):
    """An executor can run nothing, so its worker must end."""


class Executor(ABC):
    """Runs the code of attempts, at most ``concurrency`` at a time.

    It touches no row: the worker claims before it submits, writes what ``messages`` and
    ``finished`` return, and answers each message. ``on_finished`` is called, from any thread,
    when there is something to collect at once; ``on_message`` when there is something that may
    wait until ``messages_due``.
    """

    #: Can it end a run that does not want to end?
    can_kill: ClassVar[bool] = False
    #: Can it tell how much memory a run uses, and end the one that uses too much?
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
        #: When, by the monotonic clock, the first unwritten message has to be written.
        self.messages_due = NEVER
        self._endings: queue.SimpleQueue[Ending] = queue.SimpleQueue()
        self._messages: queue.SimpleQueue[Envelope] = queue.SimpleQueue()
        #: The number of the last message of each attempt in hand.
        self._numbers: dict[tuple[int, int], int] = {}
        self._numbering = threading.Lock()

    def open(self) -> None:
        """Get ready to take runs; return when it is. Raise ExecutorBrokenError with the reason."""

    def check(self) -> None:
        """Raise ExecutorBrokenError if it can run nothing any more."""

    @property
    def free(self) -> int:
        """Return how many more runs it can take now."""
        return self.concurrency - len(self.in_hand)

    @property
    def stuck(self) -> frozenset[int]:
        """Return the executions in hand that neither end nor can be ended."""
        return frozenset()

    @property
    def leaves_code_running(self) -> bool:
        """Say whether code that was abandoned may still run: then the process has to end."""
        return False

    def submit(self, run: Run) -> None:
        """Take a run in hand; ``finished`` returns its ending later."""
        self.in_hand[run.execution_id] = run
        self.begin(run)

    @abstractmethod
    def begin(self, run: Run) -> None:
        """Start a run and return without waiting for it."""

    def extend_lease(self, until: float) -> None:
        """Learn until when, by ``clock.lifetime()``, nobody else may run what is in hand."""

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask one run to stop, and end it if it does not and can be ended.

        Asked again, and asked of a run that it does not hold or that already has to stop, it
        does nothing. So does this, for executors whose runs are over before anybody can ask.
        """

    def abandon(self) -> None:
        """Bring everything in hand to an end without waiting for it; ``finished`` says how."""

    def deliver(self, ending: Ending) -> None:
        """Hand an ending over to whoever collects; safe from any thread."""
        self._endings.put(ending)
        self.on_finished()

    def finished(self) -> list[Ending]:
        """Return the endings that have come in since the last call, one for each run in hand."""
        endings = []
        while not self._endings.empty():
            ending = self._endings.get()
            run = self.in_hand.get(ending.execution_id)
            if run is not None and run.attempt == ending.attempt:
                del self.in_hand[ending.execution_id]
                self._numbers.pop((ending.execution_id, ending.attempt), None)
                endings.append(ending)
        return endings

    @property
    def all_ended(self) -> bool:
        """Say whether of everything in hand the ending has come in."""
        return self._endings.qsize() >= len(self.in_hand)

    @property
    def full(self) -> bool:
        """Say whether so much is unwritten that runs must wait before they say more."""
        return self._messages.qsize() >= MAX_UNWRITTEN_MESSAGES

    def take(self, run: Run, message: Message, answer: Callable[[bool], None]) -> None:
        """Take a message from a run, from any thread; it should wait while this is ``full``."""
        claim = run.execution_id, run.attempt
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
            self.messages_due = time.monotonic() + MESSAGE_DELAY_SECONDS
            self.on_message()

    def messages(self) -> list[Envelope]:
        """Return what runs have said since the last call, in order."""
        self.messages_due = NEVER
        return [self._messages.get() for _ in range(self._messages.qsize())]

    def close(self) -> None:
        """Take no more runs and let go of what it holds; end what can be ended."""
