"""A process executor as its worker holds it: real processes, and nothing left of them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from django.utils import timezone

from scheduled_tasks.executors import platform
from scheduled_tasks.executors.process import ProcessExecutor
from scheduled_tasks.messages import Message, Sent
from scheduled_tasks.runs import Ending, Loss, Outcome, Run

#: Longer than anything takes, in seconds, on a machine that has much else to do.
LONG = 60.0
#: In the environment of all that comes from one test, whatever fork server it came from.
MARK = "TEST_PROCESSES_IN_HAND"


class Hand:
    """A process executor, and what came out of it. The test's own thread collects."""

    def __init__(self, concurrency: int) -> None:
        self.stirred = threading.Event()
        self.executor = ProcessExecutor(
            concurrency=concurrency,
            clock=timezone.now,
            on_finished=self.stirred.set,
            on_message=self.stirred.set,
        )
        self.endings: dict[int, Ending] = {}
        self.said: dict[int, list[Message]] = defaultdict(list)
        #: What the worker's database makes of a message: does the execution still belong to it?
        self.accepts: Callable[[Sent], bool] = lambda sent: True
        self.numbers = count(1)

    @property
    def server(self) -> psutil.Process:
        """Return the process of the fork server."""
        return psutil.Process(self.server_pid)

    @property
    def server_pid(self) -> int:
        """Return the number of the last fork server, dead or alive."""
        assert self.executor._server is not None
        return self.executor._server.process.pid

    def replace_server(self) -> None:
        """Kill the fork server and wait for the next one."""
        first = self.server_pid
        os.kill(first, signal.SIGKILL)
        self.wait(lambda: self.server_pid != first and self.executor.free)

    def spares(self) -> list[int]:
        """Return the processes that wait for a run."""
        running = {child.pid for child in self.server.children() if "run-" in child.name()}
        return [pid for pid in platform.children_of(self.server.pid) if pid not in running]

    def start(
        self,
        handler: str,
        *,
        timeout: float | None = None,
        limit: int | None = None,
        checkpoint: Any = None,
        **payload: Any,
    ) -> int:
        """Submit a run of a handler of ``tests.jobs``; return its number."""
        number = next(self.numbers)
        self.executor.submit(
            Run(
                execution_id=number,
                attempt=1,
                task_name="one",
                handler=f"jobs.{handler}",
                scheduled_for=timezone.now(),
                trigger="manual",
                payload=payload,
                timeout=timeout,
                memory_limit_mb=limit,
                checkpoint=checkpoint,
            )
        )
        return number

    def cancel(self, number: int, reason: str = "No longer wanted.") -> None:
        """Ask a run to stop."""
        self.executor.cancel(number, 1, reason)

    def pids(self, path: Path, count: int = 1) -> list[int]:
        """Wait until so many processes have written down their numbers, and return these."""
        self.wait(lambda: len(pids_in(path)) == count)
        return pids_in(path)

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

    def outcome_of(self, number: int) -> Outcome:
        """Wait for the end of a run that came to an end of its own, or was failed."""
        self.wait(lambda: number in self.endings)
        ending = self.endings[number]
        assert isinstance(ending, Outcome), ending
        return ending

    def loss_of(self, number: int) -> Loss:
        """Wait for the end of a run that was lost."""
        self.wait(lambda: number in self.endings)
        ending = self.endings[number]
        assert isinstance(ending, Loss), ending
        return ending

    def run(self, handler: str, **options: Any) -> Outcome:
        """Run a handler to its end."""
        return self.outcome_of(self.start(handler, **options))


def alive(pid: int) -> bool:
    """Say whether a process is there; one that is dead and not yet waited for is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def pids_in(path: Path) -> list[int]:
    """Return the process numbers that a handler, and what it started, have written down so far."""
    written = path.read_text() if path.exists() else ""
    return [int(word) for word in written.split() if word.isdigit()]


def with_mark(mark: str) -> list[psutil.Process]:
    """Return the processes that have inherited a mark, with this one's dead children."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                if process.ppid() == os.getpid():
                    found.append(process)
            elif process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found
