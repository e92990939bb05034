"""A thread executor as its worker holds it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from scheduled_tasks import scheduled_task
from scheduled_tasks.executors.thread import ThreadExecutor
from scheduled_tasks.messages import Sent
from scheduled_tasks.runs import Ending, Outcome
from tests.executors.runs import clock, run_of

LONG = 20


class Holder:
    """A thread executor, and what came out of it. The test's own thread collects."""

    def __init__(self) -> None:
        self.stirred = threading.Event()
        self.executor = ThreadExecutor(
            concurrency=2, clock=clock, on_finished=self.stirred.set, on_message=self.stirred.set
        )
        self.said: list[Sent] = []
        self.endings: list[Ending] = []
        self.accepts = True

    def start(self, handler: Callable[..., Any], number: int = 1, **fields: Any) -> None:
        scheduled_task(name=f"shop.{handler.__name__}")(handler)
        self.executor.submit(replace(run_of(number, f"shop.{handler.__name__}"), **fields))

    def collect(self) -> None:
        self.endings += self.executor.finished()
        for sent in self.executor.messages():
            self.said.append(sent)
            assert sent.answer is not None
            sent.answer(self.accepts)

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + LONG
        while not condition():
            assert time.monotonic() < deadline
            self.stirred.wait(0.02)
            self.stirred.clear()
            self.collect()

    def end(self) -> Ending:
        self.wait(lambda: self.endings)
        return self.endings.pop()

    def outcome(self) -> Outcome:
        ending = self.end()
        assert isinstance(ending, Outcome)
        return ending


def timers() -> Iterator[threading.Thread]:
    return (thread for thread in threading.enumerate() if thread.name.startswith("timeout-"))


def spin(go: threading.Event | None = None) -> None:
    """Compute until interrupted, or until told to end."""
    end = time.monotonic() + LONG
    while time.monotonic() < end and not (go and go.is_set()):
        pass
