"""One child of the fork server, as the server sees it."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from scheduled_tasks import executors
from scheduled_tasks.executors import runner
from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.output_pipe import OutputPipe
from scheduled_tasks.executors.process.memory import Usage, resident_of, usage_of
from scheduled_tasks.executors.process.wire import Channel, Frame
from scheduled_tasks.runtime import cancellation
from scheduled_tasks.runtime.logs.run_log import RunLog

#: As much is read of what a dying child says of where it was, in bytes.
MAX_TRACE_BYTES = 1 << 18
#: The files below a handler in every traceback, which say nothing about it.
OWN_FRAMES = (
    f'File "{Path(executors.__file__).parent}',
    f'File "{runner.__file__}"',
    f'File "{cancellation.__file__}"',
    'File "<string>"',
)


def claim_of(frame: Frame) -> Frame:
    """Return which attempt a frame is about."""
    return {name: frame[name] for name in ("execution_id", "attempt")}


@dataclass(eq=False, slots=True)
class ChildHandle:
    """A process of a run, or one forked ahead for the next.

    ``stopped`` says why it is being ended, by whichever came first; ``reason`` what to put on
    record for that, where the worker has said so. ``deadline`` is when it must have begun its run,
    then the run's timeout; ``overdue`` says after how many seconds it had not begun, and is killed
    for it. ``steps`` are the moments at which it is asked more firmly, and how. ``log`` takes
    what comes out of its ``outlets`` in a run.
    """

    pid: int
    channel: Channel
    orders: int
    trace: int
    pipes: list[OutputPipe]
    run: Frame | None = None
    begun: bool = False
    outcome: Frame | None = None
    runs_made: int = 0
    stopped: str = ""
    reason: str = ""
    deadline: float | None = None
    overdue: float = 0
    steps: list[tuple[float, str]] = field(default_factory=list)
    resident_at_start: int = 0
    usage_at_start: Usage = field(default_factory=Usage)
    oom_kills_at_start: int = 0
    peak: int = 0
    log: RunLog | None = None

    @property
    def claim(self) -> Frame:
        """Return which attempt it makes; nothing while it waits for one."""
        return claim_of(self.run["run"]) if self.run else {}

    @property
    def running(self) -> bool:
        """Say whether its handler may still run."""
        return self.run is not None and self.outcome is None

    @property
    def memory_limit(self) -> int | None:
        """Return the limit of its run in megabytes."""
        limit: int | None = self.run["run"]["memory_limit_mb"] if self.run else None
        return limit

    def take(self, run: Frame) -> None:
        """Begin a run."""
        self.run, self.begun, self.outcome, self.peak, self.log = run, False, None, 0, None
        if self.runs_made:
            operating_system.forget_highest_resident(self.pid)
        self.oom_kills_at_start = operating_system.oom_kills()
        self.resident_at_start = resident_of(self.pid)
        if self.memory_limit:
            self.usage_at_start = usage_of([self.pid])
        self.channel.send({"kind": "run", **run})

    def measure(self, inherited: int) -> int:
        """Return how many bytes its run uses now, with the processes that it has started."""
        used = usage_of(operating_system.family_of(self.pid)).above(self.usage_at_start, inherited)
        self.peak = max(self.peak, used)
        return used

    def highest_resident(self) -> int:
        """Return the most memory that it has held in this run, in bytes."""
        return operating_system.highest_resident_of(self.pid)

    def peak_of(self, resident: int) -> int:
        """Return the most memory of its run, by what was measured and what the kernel counted."""
        return max(self.peak, resident - self.resident_at_start)

    def saw_oom_kill(self) -> bool:
        """Say whether the kernel has killed for want of memory since its run began."""
        return operating_system.oom_kills() > self.oom_kills_at_start

    def say(self, order: bytes) -> None:
        """Ask it to stop, with one byte that says why."""
        with suppress(OSError):
            os.write(self.orders, order)
        self.signal(signal.SIGTERM, group=False)

    def remind(self) -> None:
        """Let it write down where it is, and ask it and its process group to stop once more.

        Not at the first asking: what is written is read from threads that go on meanwhile, which
        can crash the run.
        """
        os.ftruncate(self.trace, 0)
        self.signal(operating_system.DUMP_SIGNAL, group=False)
        self.signal(signal.SIGTERM)

    def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to its process group, or to itself alone."""
        with suppress(ProcessLookupError, PermissionError):
            (os.killpg if group else os.kill)(self.pid, number)

    def dismiss(self) -> None:
        """Let it end, as it does when nobody has another run for it."""
        with suppress(OSError):
            self.channel.stream.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it and its process group at once."""
        self.signal(signal.SIGKILL)
        self.signal(signal.SIGKILL, group=False)

    def last_words(self) -> str:
        """Return where its threads were when it crashed or was asked to stop once more."""
        words = os.pread(self.trace, MAX_TRACE_BYTES, 0).decode("utf-8", "replace")
        lines = words.splitlines(keepends=True)
        return "".join(line for line in lines if not any(place in line for place in OWN_FRAMES))

    def forget(self) -> None:
        """Close what leads to it in this process."""
        self.channel.close()
        for pipe in self.pipes:
            pipe.close()
        for descriptor in (self.orders, self.trace):
            os.close(descriptor)


def trace_file() -> int:
    """Return a file without a name, for a child to append its last words to."""
    if hasattr(os, "memfd_create"):
        trace = os.memfd_create("last words")
    else:
        with tempfile.TemporaryFile() as file:
            trace = os.dup(file.fileno())
    fcntl.fcntl(trace, fcntl.F_SETFL, os.O_APPEND)
    return trace
