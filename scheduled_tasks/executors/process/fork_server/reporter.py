"""What the fork server tells its worker: each end of a run, once nothing of the run is left."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Container, Sequence
from contextlib import suppress

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle, claim_of
from scheduled_tasks.executors.process.memory import MEGABYTE
from scheduled_tasks.executors.process.wire import Channel, Frame, packed_message, unpacked
from scheduled_tasks.runtime.logs.printed_output import LEVELS
from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import Message
from scheduled_tasks.runtime.runs import Run


class ChildRecorder:
    """Sends on to the worker what is said in place of a child."""

    def __init__(self, reports: RunReporter, child: ChildHandle) -> None:
        self.reports = reports
        self.child = child

    def send(self, message: Message) -> None:
        """Pass a message on."""
        self.reports.said(self.child, {"kind": "message", "message": packed_message(message)})

    confirm = send


#: Ends are not held back for orphans that cannot be killed for longer than this, in seconds.
MAX_HOLD_SECONDS = 5.0


class RunReporter:
    """Holds ends of runs back while orphans are about: processes that a run left behind.

    The server adopts them when their run is dead. Which run each was of cannot be told then, so
    they hold up all that end at the same time, for the moment that it takes to kill them.
    """

    def __init__(self, worker: Channel, known: Container[int]) -> None:
        self.worker = worker
        self.known = known
        self.held: list[Frame] = []
        # Loading the project may have started helpers, as multiprocessing does; they stay.
        self._helpers = frozenset(operating_system.children_of(os.getpid()))
        self._held_since: float | None = None

    def begun(self, child: ChildHandle) -> None:
        """Tell that a run has begun."""
        self.worker.send({**child.claim, "kind": "begun", "pid": child.pid})

    def timed_out(self, child: ChildHandle) -> None:
        """Tell that a run has reached its timeout and is asked to stop."""
        self.worker.send({**child.claim, "kind": "timeout"})

    def said(self, child: ChildHandle, frame: Frame) -> None:
        """Pass a message on."""
        self.worker.send({**frame, **child.claim})

    def printed(self, child: ChildHandle, stream: str, lines: Sequence[str]) -> None:
        """Pass on lines that a child, or a process that it has started, has written."""
        if child.run is None:
            sys.stderr.writelines(f"{line}\n" for line in lines)
            return
        if lines and child.log is None:
            child.log = RunLog(unpacked(Run, child.run["run"]), ChildRecorder(self, child))
        if child.log is not None:
            child.log.take_all(stream, LEVELS[stream], lines)

    def last_printed(self, child: ChildHandle) -> None:
        """Pass on what is left of it at the end of a run."""
        for pipe in child.pipes:
            self.printed(child, pipe.name, pipe.drain())
        if child.log is not None:
            child.log.close()

    def ended(self, child: ChildHandle, *, peak: int, **facts: object) -> None:
        """Tell how a run ended, once no orphan is left."""
        self.held.append(
            {
                **child.claim,
                "kind": "ended",
                "outcome": child.outcome,
                "stopped": child.stopped,
                "reason": child.reason,
                "peak_mb": -(-max(peak, 0) // MEGABYTE),
                **facts,
            }
        )
        self._held_since = self._held_since or time.monotonic()
        self.release()

    def never_begun(self, run: Frame, why: str, **facts: object) -> None:
        """Tell that a run was given no process, or none that began it."""
        self.worker.send({**claim_of(run), "kind": "ended", "stopped": why, **facts})

    def release(self) -> None:
        """Tell what is held back, unless orphans are still about."""
        since = self._held_since or 0
        if self.held and self.orphans() and time.monotonic() - since < MAX_HOLD_SECONDS:
            return
        for frame in self.held:
            self.worker.send(frame)
        self.held, self._held_since = [], None

    def orphans(self) -> list[int]:
        """Return the processes that dead runs have left behind, having killed them once more."""
        children = operating_system.children_of(os.getpid())
        found = [pid for pid in children if pid not in self.known and pid not in self._helpers]
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found
