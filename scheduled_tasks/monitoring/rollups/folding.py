"""Fold what transactions have appended into the rollups, and delete old rollups."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db import IntegrityError
from django.db.models import BigIntegerField

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.lock import Lock
from scheduled_tasks.models.rollup import Rollup, RollupQuerySet
from scheduled_tasks.models.rollup_entry import RollupEntry
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.rollups import histograms
from scheduled_tasks.monitoring.rollups.recording import SECONDS_PER_HOUR, Fact

Resolution = Rollup.Resolution

#: Entries that one transaction folds, and how many transactions follow each other at most.
ENTRIES_PER_TRANSACTION, MAX_TRANSACTIONS = 100, 50
#: The lock that decides which worker folds, and the shortest time between two folds.
LOCK, SECONDS_BETWEEN_FOLDS = "scheduled_tasks:rollups", 50
#: For how many days rollups of an hour, and of a day, are kept.
HOURS_KEPT_DAYS, DAYS_KEPT_DAYS = 90, 3 * 365
#: Rollups of each kind that are deleted after folding; more follow the next time.
MAX_DELETED = 1_000
#: The ``start`` of what counts for all time.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: In place of a task's id: the total of all tasks, also of those that are deleted.
EVERYTHING = 0
FOLDED_MEANWHILE = "Another worker folded the same figures meanwhile."
#: The columns of a rollup that folding writes.
COLUMNS = tuple(
    column.attname
    for column in Rollup._meta.concrete_fields  # noqa: SLF001
    if column.attname not in ("id", "task_id", "resolution", "start", "revision")
)


class RollupKey(NamedTuple):
    """Which rollup of a task: the start of the hour or the day, EPOCH for the total."""

    task_id: int
    resolution: str
    start: datetime


Rollups = dict[RollupKey, Rollup]


def fold_due(now: datetime, *, holder: str) -> None:
    """Fold what is there, once a minute among all workers."""
    # A worker that has nothing to fold asks for no lock.
    if not RollupEntry.objects.on_primary().exists():
        return
    # It is not released, so that no other worker folds within that time.
    wanted = Lock(name=LOCK, token=uuid.uuid4().hex, holder=holder)
    if Lock.objects.acquire(wanted, lease=SECONDS_BETWEEN_FOLDS):
        fold_all(now)


def fold_all(now: datetime) -> int:
    """Fold what is there, some entries per transaction; return how many entries it were.

    It may be called by several workers at once, at any time: an entry is folded once.
    """
    using = write_alias()
    folded = 0
    for _ in range(MAX_TRANSACTIONS):
        done = fold_some(using=using)
        folded += done
        if done < ENTRIES_PER_TRANSACTION:
            break
    if folded:
        delete_old(now, using=using)
    return folded


@transactional
def fold_some(*, using: str = "") -> int:
    """Fold the first entries that no other transaction holds; return how many.

    Raise LostRaceError, and so retry the transaction, if another worker has folded one of them.
    """
    entries = RollupEntry.objects.using(using)
    found = list(entries.locked(skip=True)[:ENTRIES_PER_TRANSACTION])
    if not found:
        return 0
    # First: what was deleted since it was read must not be counted a second time.
    deleted, _ = entries.filter(AnyOf("pk", [entry.pk for entry in found])).delete()
    if deleted != len(found):
        raise LostRaceError(FOLDED_MEANWHILE)
    write(summed(found), using=using)
    return len(found)


def summed(
    entries: Iterable[RollupEntry], resolutions: Collection[str] = Resolution.values
) -> Rollups:
    """Return the sums of entries as unsaved rollups, by default by hour, by day and in all."""
    sums: Rollups = {}
    for entry in entries:
        for task_id, of_task in entry.facts.items():
            for values in of_task["facts"]:
                # Newer code may have added columns at the end, and statuses.
                fact = Fact(*values[: len(Fact._fields)])
                for key in keys_of(int(task_id), fact, resolutions):
                    rollup = sums.get(key) or sums.setdefault(key, new_rollup(key))
                    rollup.task_name = of_task["name"] if key.task_id else ""
                    add(rollup, fact)
    return sums


def keys_of(task_id: int, fact: Fact, resolutions: Collection[str]) -> Iterator[RollupKey]:
    """Yield the rollups in which a fact counts."""
    if Resolution.TOTAL in resolutions:
        yield RollupKey(task_id, Resolution.TOTAL.value, EPOCH)
        yield RollupKey(EVERYTHING, Resolution.TOTAL.value, EPOCH)
    if Resolution.HOUR in resolutions:
        yield RollupKey(task_id, Resolution.HOUR.value, begin_of(fact.hour))
    if Resolution.DAY in resolutions:
        yield RollupKey(task_id, Resolution.DAY.value, day_of(begin_of(fact.hour)))


def new_rollup(key: RollupKey) -> Rollup:
    return Rollup(task_id=key.task_id, resolution=key.resolution, start=key.start)


def begin_of(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * SECONDS_PER_HOUR, tz=UTC)


def day_of(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def add(rollup: Rollup, fact: Fact) -> None:
    """Add what one fact tells."""
    if fact.status in COLUMNS:
        setattr(rollup, fact.status, getattr(rollup, fact.status) + fact.slots)
    rollup.processed += fact.processed
    rollup.errors += fact.errors
    if fact.retries:
        key = str(fact.retries)
        rollup.retries[key] = rollup.retries.get(key, 0) + 1
    if fact.duration_ms is not None:
        histograms.add(rollup.durations, fact.duration_ms)
        rollup.duration_sum_ms += fact.duration_ms
        rollup.duration_max_ms = max(rollup.duration_max_ms, fact.duration_ms)
    if fact.lateness_ms is not None:
        rollup.started += 1
        rollup.on_time += fact.lateness_ms <= app_settings.MISFIRE_THRESHOLD * 1000
        histograms.add(rollup.lateness, fact.lateness_ms)
        rollup.lateness_sum_ms += fact.lateness_ms
        rollup.lateness_max_ms = max(rollup.lateness_max_ms, fact.lateness_ms)


def merge(rollup: Rollup, other: Rollup) -> None:
    """Add the figures of another rollup, which is newer."""
    for name in COLUMNS:
        mine, its = getattr(rollup, name), getattr(other, name)
        if name == "task_name":
            rollup.task_name = its
        elif name.endswith("_max_ms"):
            setattr(rollup, name, max(mine, its))
        elif isinstance(mine, dict):
            histograms.merge(mine, its)
        else:
            setattr(rollup, name, mine + its)


def write(sums: Mapping[RollupKey, Rollup], *, using: str) -> None:
    """Add sums to the stored rollups, within a transaction.

    Raise LostRaceError, and so retry the transaction, if one of them has changed.
    """
    stored = read(sums, using=using)
    new = [sums[key] for key in sorted(sums.keys() - stored.keys(), key=order)]
    changes = []
    for key in sorted(stored.keys() & sums.keys(), key=order):
        rollup = stored[key]
        merge(rollup, sums[key])
        values: dict[str, Any] = {name: capped(getattr(rollup, name)) for name in COLUMNS}
        guard = {"id": rollup.pk, "revision": rollup.revision}
        changes.append((values | {"revision": rollup.revision + 1}, guard))
    if update_each(Rollup, changes, using=using) != len(changes):
        raise LostRaceError(FOLDED_MEANWHILE)
    for rollup in new:
        for name in COLUMNS:
            setattr(rollup, name, capped(getattr(rollup, name)))
    try:
        Rollup.objects.using(using).bulk_create(new)
    except IntegrityError as error:  # another worker was the first to count this hour
        raise LostRaceError(FOLDED_MEANWHILE) from error


def capped(value: Any) -> Any:
    """Return a sum that its column can hold: handlers report what they like."""
    return min(value, BigIntegerField.MAX_BIGINT) if isinstance(value, int) else value


def read(keys: Collection[RollupKey], *, using: str) -> Rollups:
    """Return the stored rollups of these tasks and starts, by key."""
    tasks, starts = {key.task_id for key in keys}, {key.start for key in keys}
    rows = Rollup.objects.using(using).filter(AnyOf("task_id", sorted(tasks)), start__in=starts)
    return {RollupKey(row.task_id, row.resolution, row.start): row for row in rows.order_by()}


def order(key: RollupKey) -> tuple[int, str, datetime]:
    return key.task_id, key.resolution, key.start


def delete_old(now: datetime, *, using: str) -> None:
    """Delete rollups of hours and days that are too old, and totals of tasks that are deleted."""
    rollups = Rollup.objects.using(using)
    for resolution, days in (
        (Resolution.HOUR, HOURS_KEPT_DAYS),
        (Resolution.DAY, DAYS_KEPT_DAYS),
    ):
        old = rollups.filter(resolution=resolution, start__lt=now - timedelta(days=days))
        delete_some(old.order_by("start"), using=using)
    tasks = Task.objects.using(using).values("pk")
    orphans = rollups.filter(resolution=Resolution.TOTAL).exclude(task_id__in=tasks)
    orphans = orphans.exclude(task_id=EVERYTHING)
    delete_some(orphans, using=using)


@transactional
def delete_some(rows: RollupQuerySet, *, using: str = "") -> None:
    if ids := list(rows.values_list("pk", flat=True)[:MAX_DELETED]):
        Rollup.objects.using(using).filter(AnyOf("pk", ids)).delete()
