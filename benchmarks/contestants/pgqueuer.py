"""pgqueuer: knows no Django, claims and logs in batches. Its log has each step of a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from django.db import connection
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks import marks
from benchmarks.contestants.base import Contestant, manage

JOBS_AT_ONCE = 1_000
ENTRYPOINT = "mark"


class Pgqueuer(Contestant):
    """Its worker, with the batches of ten that it has by default."""

    def __init__(self) -> None:
        super().__init__(name="pgqueuer", runs_in="coroutines")

    def empty(self) -> None:
        """Make its tables anew."""

        async def make_anew(queries: Queries) -> None:
            await queries.uninstall()
            await queries.install()

        with_queries(make_anew)

    def queue(self, count: int) -> None:
        """Enqueue jobs, many at once."""
        now = time.time()
        self._enqueue([(now, None)] * count)

    def schedule(self, moments: Sequence[float]) -> None:
        """Enqueue jobs, each to be run after the time to its moment."""
        now = time.time()
        self._enqueue([(moment, timedelta(seconds=moment - now)) for moment in moments])

    def run_now(self) -> None:
        """Enqueue a job."""
        self.queue(1)

    def command(self) -> list[str]:
        """Return a command of the benchmarks: it has none that finds a Django database."""
        return manage("pgqueuerworker")

    def _enqueue(self, jobs: Sequence[tuple[float, timedelta | None]]) -> None:
        async def enqueue(queries: Queries) -> None:
            for first in range(0, len(jobs), JOBS_AT_ONCE):
                some = jobs[first : first + JOBS_AT_ONCE]
                await queries.enqueue(
                    [ENTRYPOINT] * len(some),
                    [str(due).encode() for due, _ in some],
                    [0] * len(some),
                    [after for _, after in some],
                )

        with_queries(enqueue)


async def connect() -> asyncpg.Connection:
    """Connect to the database of the benchmarks."""
    given = connection.settings_dict
    return await asyncpg.connect(
        host=given["HOST"] or None,
        port=given["PORT"] or None,
        user=given["USER"] or None,
        password=given["PASSWORD"] or None,
        database=given["NAME"],
    )


def with_queries(use: Callable[[Queries], Awaitable[Any]]) -> None:
    """Do something with pgqueuer's queries on a connection of their own."""

    async def connected() -> None:
        its = await connect()
        try:
            await use(Queries(AsyncpgDriver(its)))
        finally:
            await its.close()

    asyncio.run(connected())


async def work() -> None:
    """Run jobs, for ever."""
    queuer = PgQueuer(AsyncpgDriver(await connect()))

    @queuer.entrypoint(ENTRYPOINT)
    async def mark(job: Job) -> None:
        marks.leave(float(job.payload or 0))

    await queuer.run()
