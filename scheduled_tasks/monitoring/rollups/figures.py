"""Read the figures of tasks: the rollups, and what has not been folded into them yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from scheduled_tasks.models.rollup import Rollup
from scheduled_tasks.models.rollup_entry import RollupEntry, RollupEntryQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.monitoring.rollups import histograms
from scheduled_tasks.monitoring.rollups.folding import (
    Resolution,
    RollupKey,
    Rollups,
    day_of,
    merge,
    summed,
)
from scheduled_tasks.monitoring.rollups.reading import read_entries
from scheduled_tasks.runtime.statuses import FINISHED

Stored = TypeVar("Stored")

#: How many days back it is learned how long a task takes.
LEARNING_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What became of the executions of one task in one hour or on one day of UTC, or in all.

    ``counts`` has every final status. Durations are those of runs that succeeded, succeeded in part
    or failed, in milliseconds; None if there were none. ``reliability`` is the share of slots that
    began in time, None without slots. ``retries`` has executions by the number of their retries.
    """

    task_id: int
    task: str
    start: datetime
    counts: Mapping[str, int]
    processed: int
    errors: int
    retries: Mapping[str, int]
    started: int
    on_time: int
    reliability: float | None
    average_ms: int | None
    max_ms: int | None
    p50_ms: int | None
    p95_ms: int | None
    p99_ms: int | None
    lateness_p95_ms: int | None

    @property
    def count(self) -> int:
        """The executions and slots that were counted."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Learned:
    """How long the latest runs of a task took, in milliseconds, and how many there were."""

    p50_ms: int
    p95_ms: int
    runs: int


def figures(
    *,
    since: datetime,
    until: datetime,
    resolution: str = Resolution.HOUR,
    tasks: Collection[int] | None = None,
    using: str = "",
) -> list[Figures]:
    """Return the figures of tasks, by default of all, in order of time and name.

    They cover the hours, or the days, that begin at ``since`` or later and before ``until``. Hours
    and days in which nothing ended are left out.
    """
    using = using or write_alias()
    first = day_of(since) if resolution == Resolution.DAY else since
    found = {
        key: rollup
        for key, rollup in rollups(resolution, since=first, tasks=tasks, using=using).items()
        if key.start < until
    }
    ordered = sorted(found.values(), key=lambda each: (each.start, each.task_name, each.task_id))
    return [figures_of(rollup) for rollup in ordered]


def learned(tasks: Collection[int], now: datetime, *, using: str = "") -> dict[int, Learned]:
    """Return how long the runs of these tasks took in the last 14 days; those without runs lack.

    The days are those of UTC. Today counts as well, but not what has not been folded yet: it would
    be read again for each part of many tasks.
    """
    rows = Rollup.objects.using(using or write_alias()).filter(
        AnyOf("task_id", sorted(tasks)),
        resolution=Resolution.DAY,
        start__gte=day_of(now) - timedelta(days=LEARNING_DAYS),
    )
    sums: dict[int, Rollup] = {}
    days = rows.order_by().values_list("task_id", "durations", "duration_max_ms")
    for task_id, durations, longest in days:
        total = sums.get(task_id) or sums.setdefault(task_id, Rollup())
        histograms.merge(total.durations, durations)
        total.duration_max_ms = max(total.duration_max_ms, longest)
    return {task: learned_from(total) for task, total in sums.items() if total.durations}


def learned_from(rollup: Rollup) -> Learned:
    return Learned(
        p50_ms=duration(rollup, 0.5) or 0,
        p95_ms=duration(rollup, 0.95) or 0,
        runs=histograms.total(rollup.durations),
    )


def rollups(
    resolution: str,
    *,
    using: str,
    since: datetime | None = None,
    tasks: Collection[int] | None = None,
) -> Rollups:
    """Return rollups with what has not been folded into them yet."""
    rows = Rollup.objects.using(using).filter(resolution=resolution).order_by()
    if since is not None:
        rows = rows.filter(start__gte=since)
    if tasks is not None:
        rows = rows.filter(AnyOf("task_id", sorted(tasks)))
    entries = RollupEntry.objects.using(using).order_by()
    stored, pending = consistent(lambda: list(rows.all()), entries)
    found = {RollupKey(row.task_id, row.resolution, row.start): row for row in stored}
    facts, _ = read_entries(pending)
    for key, rollup in summed(facts, [resolution]).items():
        if since is not None and key.start < since:
            continue
        if tasks is not None and key.task_id not in tasks:
            continue
        if key in found:
            merge(found[key], rollup)
        else:
            found[key] = rollup
    return found


def consistent(
    read: Callable[[], Stored], entries: RollupEntryQuerySet
) -> tuple[Stored, list[RollupEntry]]:
    """Return what ``read`` reads of rollups, and the entries of that moment.

    A worker may fold entries in between. Then both are read again.

    A counter that goes down, and up again, is taken for one that has begun at zero.
    """
    while True:
        pending = pending_entries(entries)
        stored = read()
        ids = [entry.pk for entry in pending]
        # Folding deletes them in the transaction that adds them to the rollups.
        if not ids or entries.filter(AnyOf("pk", ids)).count() == len(ids):
            return stored, pending


def pending_entries(entries: RollupEntryQuerySet) -> list[RollupEntry]:
    """Return what no worker has folded yet."""
    return list(entries.all())


def figures_of(rollup: Rollup) -> Figures:
    runs = histograms.total(rollup.durations)
    slots = rollup.started + rollup.missed
    return Figures(
        task_id=rollup.task_id,
        task=rollup.task_name,
        start=rollup.start,
        counts={str(status): getattr(rollup, status) for status in FINISHED},
        processed=rollup.processed,
        errors=rollup.errors,
        retries=rollup.retries,
        started=rollup.started,
        on_time=rollup.on_time,
        reliability=rollup.on_time / slots if slots else None,
        average_ms=round(rollup.duration_sum_ms / runs) if runs else None,
        max_ms=rollup.duration_max_ms if runs else None,
        p50_ms=duration(rollup, 0.5),
        p95_ms=duration(rollup, 0.95),
        p99_ms=duration(rollup, 0.99),
        lateness_p95_ms=histograms.quantile(rollup.lateness, 0.95, maximum=rollup.lateness_max_ms),
    )


def duration(rollup: Rollup, share: float) -> int | None:
    return histograms.quantile(rollup.durations, share, maximum=rollup.duration_max_ms)
