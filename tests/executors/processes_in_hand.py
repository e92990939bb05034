"""A process executor as its worker holds it: real processes, and nothing left of them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from django.utils import timezone

from scheduled_tasks.executors.process.executor import ProcessExecutor, operating_system
from scheduled_tasks.runtime.runs import Loss, Outcome, Run
from tests.executors.in_hand import InHand

#: A grace, in seconds, in each half of which a run has the time to say that it was asked to stop.
LONG_GRACE = 2.0
#: In the environment of all that comes from one test, whatever fork server it came from.
MARK = "TEST_PROCESSES_IN_HAND"


class Hand(InHand[ProcessExecutor]):
    """A process executor, whose runs are numbered in the order in which they are started."""

    def __init__(self, concurrency: int) -> None:
        super().__init__(ProcessExecutor, concurrency=concurrency, clock=timezone.now)
        self.start_anew()

    def start_anew(self) -> None:
        """Forget what earlier tests did: their runs have ended."""
        super().start_anew()
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

    def everything_is_sent(self) -> bool:
        """Say whether the fork server can read all that it is to do."""
        server = self.executor._server
        return server is not None and server._posted.empty() and not server.channel.unsent

    def spares(self) -> list[int]:
        """Return the processes that wait for a run."""
        running = {child.pid for child in self.server.children() if "run-" in child.name()}
        return [pid for pid in operating_system.children_of(self.server.pid) if pid not in running]

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

    def pids(self, path: Path, count: int = 1) -> list[int]:
        """Wait until so many processes have written down their numbers, and return these."""
        self.wait(lambda: len(pids_in(path)) == count)
        return pids_in(path)

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


def end_all(left: list[psutil.Process]) -> None:
    """Kill processes that should not be there, and fail if there are any."""
    described = [description_of(process) for process in left]
    for process in left:
        process.kill()
    assert described == []


def description_of(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process} of {process.parent()} with {process.children()}: {process.cmdline()}"
    return str(process)
