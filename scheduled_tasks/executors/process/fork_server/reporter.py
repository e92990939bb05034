"""What the fork server reports to its worker: messages, output, and how each run ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Container

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle, claim_of
from scheduled_tasks.executors.process.fork_server.output_pipe import OutputPipe
from scheduled_tasks.executors.process.memory import MEGABYTE
from scheduled_tasks.executors.process.wire import Channel, Frame

logger = logging.getLogger(__name__)

#: The longest time for which ends of runs are held back, if orphans cannot be killed.
MAX_HOLD_SECONDS = 5.0


class RunReporter:
    """Reports runs to the worker, the end of a run only when nothing of it is left.

    The server adopts orphans, the processes that a dead run leaves behind. It cannot tell which
    run an orphan belonged to, so orphans delay the reports of all runs that end at the same time,
    for the moment that it takes to kill them.
    """

    def __init__(self, worker: Channel, known: Container[int]) -> None:
        self.worker = worker
        self.known = known
        self.held: list[Frame] = []
        # Loading the project may have started helpers, as multiprocessing does; they stay.
        self._spared = set(operating_system.children_of(os.getpid()))
        self._held_since: float | None = None

    def begun(self, child: ChildHandle) -> None:
        self.worker.send({**child.claim, "kind": "begun", "pid": child.pid})

    def timed_out(self, child: ChildHandle) -> None:
        """Report that a run has timed out and was asked to stop."""
        self.worker.send({**child.claim, "kind": "timeout"})

    def forward(self, child: ChildHandle, frame: Frame) -> None:
        self.worker.send({**frame, **child.claim})

    def output(self, child: ChildHandle, pipe: OutputPipe, data: bytes) -> None:
        """Report what a child, or a process that it has started, has written."""
        if not (data or pipe.omitted):
            return
        if child.run is None:
            # No log of a run can take what a spare writes.
            sys.stderr.write(data.decode("utf-8", "replace"))
            return
        frame = {"kind": "output", "stream": pipe.name, "body": data}
        self.worker.send({**frame, "omitted": pipe.omitted, **child.claim})
        pipe.awaited = False

    def flush_output(self, child: ChildHandle) -> None:
        """Report the rest of a run's output when the run has ended."""
        for pipe in child.pipes:
            data = pipe.drain()
            self.output(child, pipe, data)
            pipe.begin_run()

    def ended(self, child: ChildHandle, *, peak: int, **facts: object) -> None:
        """Report how a run ended, as soon as no orphan is left."""
        self.held.append(
            {
                **child.claim,
                "kind": "ended",
                "body": child.outcome or b"",
                "stopped": child.stop_cause,
                "reason": child.stop_reason,
                # Rounded up, so that a peak above a limit is shown as more than the limit.
                "peak_mb": -(-max(peak, 0) // MEGABYTE),
                **facts,
            }
        )
        self._held_since = self._held_since or time.monotonic()
        self.release_held()

    def never_begun(self, run: Frame, why: str, **facts: object) -> None:
        """Report the end of a run that no process has begun."""
        # Not held back: where nothing has run, nothing can be left.
        self.worker.send({**claim_of(run), "kind": "ended", "stopped": why, **facts})

    def release_held(self) -> None:
        """Send the reports that are held back, unless there still are orphans."""
        since = self._held_since or 0
        if self.held and self.kill_orphans() and time.monotonic() - since < MAX_HOLD_SECONDS:
            return
        for frame in self.held:
            self.worker.send(frame)
        self.held, self._held_since = [], None

    def kill_orphans(self) -> list[int]:
        """Kill the processes that dead runs have left behind. Return those that were found."""
        children = operating_system.children_of(os.getpid())
        # The number of a process that has ended may be given to another one.
        self._spared.intersection_update(children)
        found = [pid for pid in children if pid not in self.known and pid not in self._spared]
        return [pid for pid in found if self._kill(pid)]

    def _kill(self, pid: int) -> bool:
        """Kill an orphan, unless it belongs to another user; return whether that is allowed."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        except PermissionError:
            self._spared.add(pid)
            logger.warning(
                "a run has left process %s behind, which runs as another user and cannot be killed",
                pid,
            )
            return False
        return True
