"""Ends runs at their timeout: asks them to stop, then terminates them, then kills them.

Cancelled and abandoned runs are ended in the same steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from scheduled_tasks.executors.process.fork_server.child import (
    ABANDONED,
    CANCELLED,
    REFUSED,
    TIMEOUT,
)
from scheduled_tasks.executors.process.fork_server.child_handle import ChildHandle

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


class Timeouts:
    """The deadlines of the runs of these children, and what follows them.

    ``on_deadline`` is called with a child whose run has timed out, or was not begun in time.
    """

    def __init__(
        self, children: Mapping[int, ChildHandle], *, on_deadline: Callable[[ChildHandle], None]
    ) -> None:
        self.children = children
        self.on_deadline = on_deadline

    def enforce(self, now: float) -> None:
        """Report the deadlines that have passed, and end the runs that do not stop."""
        for child in list(self.children.values()):
            if child.deadline is not None and now >= child.deadline:
                self.on_deadline(child)
            while child.escalation and now >= child.escalation[0][0]:
                match child.escalation.pop(0)[1]:
                    case "terminate":
                        child.terminate()
                    case _:
                        if child.running:  # its handler had ended, unless it was to stop
                            child.stop_cause = child.stop_cause or "unfinished"
                        child.kill()

    def due(self) -> Iterator[float]:
        """Yield the moments of the monotonic clock at which there is something to enforce."""
        for child in self.children.values():
            if child.deadline is not None:
                yield child.deadline
            if child.escalation:
                yield child.escalation[0][0]
