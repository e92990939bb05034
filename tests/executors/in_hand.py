"""An executor as its worker holds it, whatever it runs its runs in."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.runtime.messages import Envelope, Message
from scheduled_tasks.runtime.runs import Ending, Outcome
from tests.support.processes import LONG

WHY = "No longer wanted."

AnyExecutor = TypeVar("AnyExecutor", bound=Executor)


class InHand(Generic[AnyExecutor]):
    """An executor, and what came out of it. The test's own thread collects."""

    def __init__(
        self, kind: type[AnyExecutor], *, concurrency: int, clock: Callable[[], datetime]
    ) -> None:
        self.stirred = threading.Event()
        self.executor = kind(
            concurrency=concurrency,
            clock=clock,
            on_finished=self.stirred.set,
            on_message=self.stirred.set,
        )
        self.start_anew()

    def start_anew(self) -> None:
        """Forget what came out of it."""
        self.endings: dict[int, Ending] = {}
        self.said: dict[int, list[Message]] = defaultdict(list)
        #: What the worker's database makes of a message: does the execution still belong to it?
        self.accepts: Callable[[Envelope], bool] = lambda sent: True

    def cancel(self, number: int = 1, attempt: int = 1, reason: str = WHY) -> None:
        """Ask a run to stop."""
        self.executor.cancel(number, attempt, reason)

    def collect(self) -> None:
        """Collect what there is, as the worker does, and answer each message."""
        ended = self.executor.finished()
        for sent in self.executor.messages():
            self.said[sent.execution_id].append(sent.message)
            assert sent.answer is not None
            sent.answer(self.accepts(sent))
        for ending in ended:
            assert ending.execution_id not in self.endings
            self.endings[ending.execution_id] = ending

    def wait(self, condition: Callable[[], object], *, within: float = LONG) -> None:
        """Collect until something is true."""
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"it did not come true within {within} s"
            self.stirred.wait(0.02)
            self.stirred.clear()
            self.collect()

    def wait_uncollected(self, queue: queue.SimpleQueue[Any]) -> None:
        """Wait until a queue of the executor's holds something, and leave it there."""
        while not queue.qsize():
            assert self.stirred.wait(LONG)
            self.stirred.clear()


def is_cancelled(outcome: Outcome, *, error: str = "") -> bool:
    """Say whether a run was cancelled for the test's reason, and is no failure."""
    fields = (outcome.status, outcome.reason, outcome.error, outcome.error_category)
    assert fields == ("cancelled", WHY, error, "")
    assert outcome.error_fingerprint == ""
    return True
