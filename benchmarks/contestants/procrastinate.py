"""procrastinate, by its own Django app: LISTEN/NOTIFY, one query to fetch and one to end a job."""

from __future__ import annotations

import time
from collections.abc import Sequence

from procrastinate.contrib.django import app

from benchmarks import marks
from benchmarks.contestants.base import Contestant, as_datetime, empty_app, manage

JOBS_AT_ONCE = 1_000
CONCURRENCY = 10


@app.task(name="mark")
async def mark(*, due: float) -> None:
    """Leave a mark."""
    marks.leave(due)


class Procrastinate(Contestant):
    """Its worker, with coroutines: its fastest way."""

    def __init__(self) -> None:
        super().__init__(name="procrastinate", runs_in=f"{CONCURRENCY} coroutines")

    def empty(self) -> None:
        """Empty its tables."""
        empty_app("procrastinate")

    def queue(self, count: int) -> None:
        """Defer jobs, many at once."""
        now = time.time()
        for first in range(0, count, JOBS_AT_ONCE):
            mark.batch_defer(*[{"due": now}] * min(JOBS_AT_ONCE, count - first))

    def schedule(self, moments: Sequence[float]) -> None:
        """Defer jobs, each until its moment."""
        for moment in moments:
            mark.configure(schedule_at=as_datetime(moment)).defer(due=moment)

    def run_now(self) -> None:
        """Defer a job."""
        mark.defer(due=time.time())

    def command(self) -> list[str]:
        """Return its worker's command."""
        return manage("procrastinate", "worker", f"--concurrency={CONCURRENCY}")
