"""The runs that the fork server has been given, and that no child has yet."""

from __future__ import annotations

from collections import deque

from scheduled_tasks.executors.process.fork_server.child_handle import claim_of
from scheduled_tasks.executors.process.fork_server.reports import RunReporter
from scheduled_tasks.executors.process.wire import Frame

#: So many children are given a run in turn; where none lives to begin it, the run has failed.
MAX_TRIES = 3


class PendingRuns:
    """Runs in the order in which children get them."""

    def __init__(self, reports: RunReporter) -> None:
        self.reports = reports
        self._runs: deque[Frame] = deque()

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._runs)

    def add(self, frame: Frame) -> None:
        """Let a run wait behind the others."""
        self._runs.append(frame)

    def next(self) -> Frame:
        """Return the run whose turn it is, which waits no more."""
        return self._runs.popleft()

    def put_back(self, frame: Frame, **facts: object) -> None:
        """Let the next child make a run that its own did not live to begin, or report it failed.

        ``facts`` say how this child ended.
        """
        frame["tries"] = frame.get("tries", 0) + 1
        if frame["tries"] < MAX_TRIES:
            self._runs.appendleft(frame)
        else:
            self.reports.never_begun(frame["run"], "unbegun", tries=MAX_TRIES, **facts)

    def cancel(self, claim: Frame, reason: str) -> None:
        """Report one run cancelled, if it waits."""
        for frame in [each for each in self._runs if claim_of(each["run"]) == claim]:
            self._runs.remove(frame)
            self.reports.never_begun(frame["run"], "cancelled", reason=reason)

    def end_all(self, why: str) -> None:
        """Report all of them stopped."""
        while self._runs:
            self.reports.never_begun(self.next()["run"], why)

    def clear(self) -> None:
        """Forget them: nobody is there to be told."""
        self._runs.clear()
