"""The yardstick: a plain Django loop that fires, claims and ends in batches of 100."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.contestants.base import Contestant, as_datetime, empty_app, manage
from benchmarks.models import PlainTask

DAY = 86_400
ROWS_AT_ONCE = 2_000


class PlainLoop(Contestant):
    """The loop. ``apart`` says whether each row ends with values of its own, or all alike."""

    def __init__(self, *, apart: bool) -> None:
        self.apart = apart
        how = "bulk_update" if apart else "one UPDATE"
        super().__init__(name=f"plain loop, {how}", runs_in="the loop")

    def empty(self) -> None:
        """Empty its two tables."""
        empty_app("benchmarks")

    def queue(self, count: int) -> None:
        """Store tasks that are due: it knows nothing else."""
        self.schedule([time.time()] * count)

    def schedule(self, moments: Sequence[float]) -> None:
        """Store daily tasks whose next slots are the moments."""
        self.store(DAY, moments)

    def store(self, every: int, moments: Sequence[float]) -> None:
        """Store tasks with so many seconds between their slots, by their next slots."""
        rows = (
            PlainTask(seconds=every, next_run_at=as_datetime(moment), payload={"due": moment})
            for moment in moments
        )
        PlainTask.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)

    def run_now(self) -> None:
        """Store a task that is due."""
        self.queue(1)

    def command(self) -> list[str]:
        """Return the command of the loop."""
        return manage("plainloop", *(["--apart"] if self.apart else []))
