"""One child of the fork server, as the server sees it and acts on it."""

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

#: The most that is read of the traceback of a dying child.
MAX_TRACE_BYTES = 1 << 18
#: Frames of these files stand below every handler and say nothing about it.
OWN_FRAMES = (
    f'File "{Path(executors.__file__).parent}',
    f'File "{runner.__file__}"',
    f'File "{cancellation.__file__}"',
    'File "<string>"',
)


def claim_of(frame: Frame) -> Frame:
    return {name: frame[name] for name in ("execution_id", "attempt")}


@dataclass(eq=False, slots=True)
class ChildHandle:
    """The process of a run, or a spare that waits for one.

    - ``loading`` says that it is a fresh interpreter, which loads the project before its first run.
    - ``run`` is the frame of its run, None while it is a spare; ``begun``, ``returned`` and
      ``outcome`` say how far the run has come.
    - ``stop_cause`` is the first cause for stopping it; ``stop_reason`` explains a cancel, and what
      is wrong with what it has sent.
    - ``deadline`` is the moment by which it must have begun its run, then the run's timeout.
    - ``overdue`` is the time, in seconds, in which it failed to begin, if it is killed for that.
    - ``escalation`` lists the moments at which it is terminated and killed.
    """

    pid: int
    channel: Channel
    stop_pipe: int
    trace: int
    pipes: list[OutputPipe]
    loading: bool = False
    run: Frame | None = None
    begun: bool = False
    returned: bool = False
    outcome: bytes | None = None
    runs_made: int = 0
    stop_cause: str = ""
    stop_reason: str = ""
    deadline: float | None = None
    overdue: float = 0
    escalation: list[tuple[float, str]] = field(default_factory=list)
    resident_at_start: int = 0
    usage_at_start: Usage = field(default_factory=Usage)
    oom_kills_at_start: int = 0
    peak: int = 0

    @property
    def claim(self) -> Frame:
        """The attempt that it makes; empty while it is a spare."""
        return claim_of(self.run["run"]) if self.run else {}

    @property
    def running(self) -> bool:
        """Whether its run has not reported how it ended."""
        return self.run is not None and self.outcome is None

    @property
    def timeout(self) -> float | None:
        """The timeout of its run, in seconds."""
        timeout: float | None = self.run["run"]["timeout"] if self.run else None
        return timeout

    @property
    def memory_limit(self) -> int | None:
        """The limit of its run, in megabytes."""
        limit: int | None = self.run["run"]["memory_limit_mb"] if self.run else None
        return limit

    def assign(self, run: Frame) -> None:
        """Send it a run, and measure what it uses before."""
        self.run, self.begun, self.returned, self.outcome = run, False, False, None
        self.peak = 0
        if self.runs_made:
            operating_system.reset_peak_resident(self.pid)
        if not self.loading:
            self.measure_start()
        self.channel.send({"kind": "run", **run})

    def begin(self, resident: int) -> None:
        """Record that its handler runs from now on; it said how much memory it had, in bytes."""
        self.begun = True
        if self.loading:  # what the project takes to load is not the run's
            self.loading = False
            self.measure_start()
            # A short run is over by now, and with it what could be measured.
            self.resident_at_start = max(resident, 0)

    def measure_start(self) -> None:
        """Measure what it uses before its run."""
        self.oom_kills_at_start = operating_system.oom_kills()
        self.resident_at_start = resident_of(self.pid)
        if self.memory_limit:
            self.usage_at_start = usage_of([self.pid])

    def measure(self, inherited: int) -> int:
        """Return the bytes that its run uses now, with the processes that it has started."""
        used = usage_of(operating_system.process_tree(self.pid)).above(
            self.usage_at_start, inherited
        )
        self.peak = max(self.peak, used)
        return used

    def peak_resident(self) -> int:
        """Return the peak of its resident memory in this run, in bytes."""
        return operating_system.peak_resident_of(self.pid)

    def peak_of(self, resident: int) -> int:
        """Return the peak of its run, from our measurements and from the kernel's."""
        return max(self.peak, resident - self.resident_at_start)

    def saw_oom_kill(self) -> bool:
        """Whether the kernel has killed a process for lack of memory since its run began."""
        return operating_system.oom_kills() > self.oom_kills_at_start

    def request_stop(self, code: bytes) -> None:
        with suppress(OSError):
            os.write(self.stop_pipe, code)
        self.signal(signal.SIGTERM, group=False)

    def terminate(self) -> None:
        """Have it dump its tracebacks, and send SIGTERM to its process group.

        A first request does not dump them: faulthandler reads threads while they run, which can
        crash the process.
        """
        os.ftruncate(self.trace, 0)
        self.signal(operating_system.DUMP_SIGNAL, group=False)
        self.signal(signal.SIGTERM)
        if not self.in_own_group:
            self.signal(signal.SIGTERM, group=False)

    @property
    def in_own_group(self) -> bool:
        """Whether it is in the process group that the server has made for it; it may leave that."""
        with suppress(ProcessLookupError):
            return os.getpgid(self.pid) == self.pid
        return False

    def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to its process group, or to itself alone."""
        with suppress(ProcessLookupError, PermissionError):
            (os.killpg if group else os.kill)(self.pid, number)

    def dismiss(self) -> None:
        """Let it exit, as a spare does when it gets no more runs."""
        with suppress(OSError):
            self.channel.stream.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        # It may have left the group.
        self.signal(signal.SIGKILL, group=False)

    def read_trace(self) -> str:
        """Return where its threads were when it crashed or was terminated."""
        trace = os.pread(self.trace, MAX_TRACE_BYTES, 0).decode("utf-8", "replace")
        lines = trace.splitlines(keepends=True)
        return "".join(line for line in lines if not any(place in line for place in OWN_FRAMES))

    def close(self) -> None:
        """Close the server's ends of its socket and pipes."""
        self.channel.close()
        for pipe in self.pipes:
            pipe.close()
        for descriptor in (self.stop_pipe, self.trace):
            os.close(descriptor)


def trace_file() -> int:
    """Return an unnamed file to which faulthandler in a child appends tracebacks."""
    if hasattr(os, "memfd_create"):
        trace = os.memfd_create("trace")
    else:
        with tempfile.TemporaryFile() as file:
            trace = os.dup(file.fileno())
    # Or the dump after a truncation would begin where the one before it ended.
    fcntl.fcntl(trace, fcntl.F_SETFL, os.O_APPEND)
    return trace
