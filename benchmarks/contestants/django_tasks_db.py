"""django-tasks-db, the database backend of Django's own tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django_tasks import task

from benchmarks import marks
from benchmarks.contestants.base import Contestant, as_datetime, empty_app, manage


@task()
def mark(due: float) -> None:
    """Leave a mark."""
    marks.leave(due)


class DjangoTasksDb(Contestant):
    """Its worker, which runs jobs itself, one after the other."""

    def __init__(self) -> None:
        super().__init__(name="django-tasks-db", runs_in="the loop")

    def empty(self) -> None:
        """Empty its table."""
        empty_app("django_tasks_database")

    def queue(self, count: int) -> None:
        """Enqueue jobs one by one: it knows no other way."""
        for _ in range(count):
            self.run_now()

    def schedule(self, moments: Sequence[float]) -> None:
        """Enqueue jobs, each to be run after its moment."""
        for moment in moments:
            mark.using(run_after=as_datetime(moment)).enqueue(due=moment)

    def run_now(self) -> None:
        """Enqueue a job."""
        mark.enqueue(due=time.time())

    def command(self) -> list[str]:
        """Return its worker's command, without the random delay that it starts with."""
        return manage("db_worker", "--no-startup-delay", "--verbosity=0")
