"""A thread executor as its worker holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.exceptions import RunInterrupted
from scheduled_tasks.executors.thread import ThreadExecutor
from scheduled_tasks.runtime.runs import Ending, Outcome
from tests.executors.in_hand import InHand
from tests.executors.runs import clock, run_of
from tests.support.processes import LONG


class Holder(InHand[ThreadExecutor]):
    """A thread executor for two runs at a time, whose endings are taken one by one."""

    def __init__(self) -> None:
        super().__init__(ThreadExecutor, concurrency=2, clock=clock)

    def start(self, handler: Callable[..., Any], number: int = 1, **fields: Any) -> None:
        scheduled_task(name=f"shop.{handler.__name__}")(handler)
        self.executor.submit(replace(run_of(number, f"shop.{handler.__name__}"), **fields))

    def end(self) -> Ending:
        self.wait(lambda: self.endings)
        _, ending = self.endings.popitem()
        return ending

    def outcome(self) -> Outcome:
        ending = self.end()
        assert isinstance(ending, Outcome)
        return ending


class Stubborn:
    """A handler that goes on whatever is raised in it, until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.raised: list[type[RunInterrupted]] = []

    @property
    def job(self) -> Callable[[TaskContext], str]:
        """Return it as the function that a handler has to be."""

        def job(context: TaskContext) -> str:
            while not self.go.is_set():
                try:
                    self.begun.set()
                    spin(self.go)
                except RunInterrupted as error:
                    self.raised.append(type(error))
            return f"at last, cancelled={context.cancelled}"

        return job


def timers() -> Iterator[threading.Thread]:
    return (thread for thread in threading.enumerate() if thread.name.startswith("timeout-"))


def spin(go: threading.Event | None = None) -> None:
    """Compute until interrupted, or until told to end."""
    end = time.monotonic() + LONG
    while time.monotonic() < end and not (go and go.is_set()):
        pass
