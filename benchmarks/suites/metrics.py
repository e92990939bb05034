"""How long a scrape takes with many tasks and a long history.

There are a thousand tasks, and one that was deleted. Their executions have been counted, those of
the last moments wait to be folded. *Database* is the reading alone, *scrape* the whole answer of
the view, and *again* an answer from its cache. What is measured is this process and the database,
no network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from django.db import transaction
from django.test import RequestFactory

from benchmarks.contestants.base import analyze, as_datetime
from benchmarks.measure import NotMeasuredError
from benchmarks.stored_history import execution_of, store
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.suites.history import timed
from benchmarks.workers import now
from scheduled_tasks.models import Rollup, RollupEntry, Task
from scheduled_tasks.models.execution import FirstStart
from scheduled_tasks.monitoring.metrics import collector as metrics
from scheduled_tasks.monitoring.metrics import measurements
from scheduled_tasks.monitoring.rollups import recording as rollups
from scheduled_tasks.monitoring.rollups.folding import fold_all, fold_some

#: Executions.
SIZE = 1_000_000
SECONDS = 0.0
WITH_PEERS = False

TASKS = 1_000
#: How many times it is scraped.
TIMES = 30
#: Executions that are counted of each hour, and the hours.
PER_HOUR, HOURS = 2_000, 24
#: Entries that are not folded, each with this many executions: those of ten seconds.
PENDING, PER_ENTRY = 20, 50


def cases(plan: Plan) -> list[Case]:
    """Return the reading, the whole scrape, and the answer from the cache."""
    measured: dict[str, Callable[[], object]] = {
        "database": lambda: measurements.measure(as_datetime(now())),
        "scrape": scrape,
        "again": scrape_again,
    }
    return [
        Case(
            labels={
                "what": name,
                "tasks": f"{TASKS:,}",
                "executions": f"{plan.size:,}",
            },
            measure=functools.partial(measure, function, plan.size),
        )
        for name, function in measured.items()
    ]


def measure(function: Callable[[], object], size: int) -> Figures:
    """Store what is needed, and measure the function."""
    store(size, TASKS + 1)  # one of them is deleted in the end
    count_executions(size)
    return timed(function, TIMES)


def scrape() -> None:
    """Ask the view for metrics, without its cache."""
    metrics.exposition.clear()
    scrape_again()


def scrape_again() -> None:
    """Ask the view for metrics."""
    response = metrics.view(RequestFactory().get("/metrics/"))
    if response.status_code != 200:  # noqa: PLR2004 -- everybody knows it
        raise NotMeasuredError(f"the view answered {response.status_code}")


@functools.cache
def count_executions(size: int) -> None:
    """Count executions as a day of work leaves them, most of them folded."""
    tasks = list(Task.objects.order_by("pk"))
    begun = now() - HOURS * 3600
    for hour in range(HOURS):
        append(tasks, begun + hour * 3600, PER_HOUR)
    fold_all()
    while RollupEntry.objects.exists():
        fold_some()
    for _ in range(PENDING):
        append(tasks, now(), PER_ENTRY)
    if Rollup.objects.filter(resolution=Rollup.Resolution.TOTAL).count() < len(tasks):
        raise NotMeasuredError("not every task has a total")
    analyze()


def append(tasks: list[Task], moment: float, count: int) -> None:
    """Append one entry for some executions."""
    rows = []
    for number in range(count):
        row = execution_of(tasks, 2 * number, moment)
        row.first_start = FirstStart(lateness_ms=number, ended_at=as_datetime(moment))
        rows.append(row)
    with transaction.atomic():
        rollups.record(rollups.ended(rows, before="running"), using="default")
