"""What every executor can do: take runs, and hand back how they ended."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from scheduled_tasks.runs import Outcome, Run


class Executor(ABC):
    """Runs the code of attempts, at most ``concurrency`` at a time.

    It touches no row: the worker claims before it submits, and writes what ``finished`` returns.
    ``on_finished`` is called, from any thread, whenever there is something to collect.
    """

    #: Can it end a run that does not want to end?
    can_kill: ClassVar[bool] = False

    def __init__(
        self,
        *,
        concurrency: int,
        clock: Callable[[], datetime],
        on_finished: Callable[[], None] = lambda: None,
    ) -> None:
        self.concurrency = concurrency
        self.clock = clock
        self.on_finished = on_finished
        self.in_hand: dict[int, Run] = {}
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()

    @property
    def free(self) -> int:
        """Return how many more runs it can take now."""
        return self.concurrency - len(self.in_hand)

    def submit(self, run: Run) -> None:
        """Take a run in hand; ``finished`` returns its outcome later."""
        self.in_hand[run.execution_id] = run
        self.begin(run)

    @abstractmethod
    def begin(self, run: Run) -> None:
        """Start a run and return without waiting for it."""

    def deliver(self, outcome: Outcome) -> None:
        """Hand an outcome over to whoever collects; safe from any thread."""
        self._outcomes.put(outcome)
        self.on_finished()

    def finished(self) -> list[Outcome]:
        """Return the outcomes that have come in since the last call."""
        outcomes = []
        while not self._outcomes.empty():
            outcome = self._outcomes.get()
            self.in_hand.pop(outcome.execution_id, None)
            outcomes.append(outcome)
        return outcomes

    def close(self) -> None:
        """Take no more runs and let go of what it holds; runs that cannot be ended go on."""
