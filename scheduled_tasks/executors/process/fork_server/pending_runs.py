"""The runs that the fork server has received and not yet given to a child."""

from __future__ import annotations

from collections import deque

from scheduled_tasks.executors.process.fork_server.child_handle import claim_of
from scheduled_tasks.executors.process.fork_server.reporter import RunReporter
from scheduled_tasks.executors.process.wire import Frame

#: A run has failed after this many children in a row ended before they began it.
MAX_TRIES = 3


class PendingRuns:
    """A queue of runs. Those that leave it without a child are reported as ended."""

    def __init__(self, reporter: RunReporter) -> None:
        self.reporter = reporter
        self._runs: deque[Frame] = deque()

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, frame: Frame) -> None:
        self._runs.append(frame)

    def pop(self) -> Frame:
        return self._runs.popleft()

    def put_back(self, frame: Frame, **facts: object) -> None:
        """Put a run whose child ended before it began at the front, or report it failed.

        ``facts`` describe how the child ended.
        """
        frame["tries"] = frame.get("tries", 0) + 1
        if frame["tries"] < MAX_TRIES:
            self._runs.appendleft(frame)
        else:
            self.reporter.never_begun(frame["run"], "unbegun", tries=MAX_TRIES, **facts)

    def cancel(self, claim: Frame, reason: str) -> None:
        """Remove one run, if it is here, and report it cancelled."""
        for frame in [each for each in self._runs if claim_of(each["run"]) == claim]:
            self._runs.remove(frame)
            self.reporter.never_begun(frame["run"], "cancelled", reason=reason)

    def stop_all(self, why: str, **facts: object) -> None:
        """Remove all runs and report them stopped."""
        while self._runs:
            self.reporter.never_begun(self.pop()["run"], why, **facts)

    def clear(self) -> None:
        """Remove all runs without a report: the worker is gone."""
        self._runs.clear()
