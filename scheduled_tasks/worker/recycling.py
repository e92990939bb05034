"""When a worker has done its share and makes room for a fresh process."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from scheduled_tasks.runtime.wording import counted, duration


class Recycling:
    """Counts claims and time; once either limit is reached, the worker claims nothing more.

    It still fires slots until its runs have ended, and then ends. ``max_age`` is in seconds, from
    now. None stands for no limit.
    """

    def __init__(
        self,
        *,
        max_executions: int | None = None,
        max_age: float | None = None,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self.max_executions = max_executions
        self.max_age = max_age
        self.claimed = 0
        self._monotonic = monotonic
        self._begun = monotonic()

    def room(self, free: int) -> int:
        """Return how many of these free places may still be filled."""
        if self.seconds_left <= 0:
            return 0
        if self.max_executions is None:
            return free
        return min(free, self.max_executions - self.claimed)

    @property
    def seconds_left(self) -> float:
        """The seconds until the worker is too old."""
        age = self._monotonic() - self._begun
        return float("inf") if self.max_age is None else self.max_age - age

    @property
    def reason(self) -> str:
        """Which limit is reached, empty for none."""
        if self.max_executions is not None and self.claimed >= self.max_executions:
            return f"it has claimed {counted(self.claimed, 'execution')}"
        return f"it is older than {duration(self.max_age or 0)}" if self.seconds_left <= 0 else ""
