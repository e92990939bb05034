"""Enforces what a run may use: kills it at its timeout, and above its memory limit.

A run is asked to stop first, then terminated, then killed. Memory is measured ten times a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.executors.process.fork_server.child import (
    ABANDONED,
    CANCELLED,
    REFUSED,
    TIMEOUT,
)
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle
from scheduled_tasks.executors.process.memory import MEGABYTE, resident_of

MEMORY_CHECK_SECONDS = 0.1

#: The causes for which a run is asked to stop; for any other it is killed.
STOP_CODES = {
    "timeout": TIMEOUT,
    "refused": REFUSED,
    "abandoned": ABANDONED,
    "cancelled": CANCELLED,
}


def stop_run(child: ChildHandle, why: str, *, grace: float) -> None:
    """Ask a run to stop, terminate it after half the grace, and kill it after the grace.

    Without a grace it is killed immediately.
    """
    if not child.running:
        return
    now = time.monotonic()
    # The first cause decides, such as a timeout before a cancellation.
    child.stop_cause, child.deadline = child.stop_cause or why, None
    if grace <= 0 or why not in STOP_CODES:
        child.kill()
        return
    child.request_stop(STOP_CODES[why])
    child.escalation = [(now + grace / 2, "terminate"), (now + grace, "kill")]


class RunLimits:
    """The time and memory limits of the runs of these children.

    ``on_deadline`` is called with a child whose run has timed out, or was not begun in time.
    """

    def __init__(
        self, children: Mapping[int, ChildHandle], *, on_deadline: Callable[[ChildHandle], None]
    ) -> None:
        self.children = children
        self.on_deadline = on_deadline
        self.next_memory_check = 0.0
        self._inherited = resident_of(os.getpid())

    def enforce(self, now: float) -> None:
        """Stop the runs that have exceeded a limit, and kill those that do not stop."""
        for child in list(self.children.values()):
            if child.deadline is not None and now >= child.deadline:
                self.on_deadline(child)
            while child.escalation and now >= child.escalation[0][0]:
                match child.escalation.pop(0)[1]:
                    case "terminate":
                        child.terminate()
                    case _:
                        child.kill()
        for child in self.above_memory_limit(now):
            stop_run(child, "memory", grace=0)

    def above_memory_limit(self, now: float) -> list[ChildHandle]:
        """Return the children above their limit; none before the next check is due."""
        if now < self.next_memory_check:
            return []
        self.next_memory_check = now + MEMORY_CHECK_SECONDS
        return [
            child
            for child in self.with_memory_limit()
            if (limit := child.memory_limit) and child.measure(self._inherited) > limit * MEGABYTE
        ]

    def with_memory_limit(self) -> list[ChildHandle]:
        """Return the children whose runs have a limit, on systems that can enforce it."""
        if not operating_system.LINUX:
            return []
        return [child for child in self.children.values() if child.running and child.memory_limit]

    def due(self) -> Iterator[float]:
        """Yield the moments of the monotonic clock at which there is something to enforce."""
        for child in self.children.values():
            if child.deadline is not None:
                yield child.deadline
            if child.escalation:
                yield child.escalation[0][0]
        if self.with_memory_limit():
            yield self.next_memory_check
