"""Fold what transactions have appended into the rollups."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

from django.db import DataError, IntegrityError
from django.db.models import BigIntegerField, TextField
from django.db.models.functions import Cast

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.rollup import Rollup
from scheduled_tasks.models.rollup_entry import RollupEntry, RollupEntryQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.transactions import (
    LostRaceError,
    in_transaction,
    transactional,
    write_alias,
)
from scheduled_tasks.monitoring.rollups import histograms
from scheduled_tasks.monitoring.rollups.reading import read_entries
from scheduled_tasks.monitoring.rollups.recording import SECONDS_PER_HOUR, Fact, TaskFact
from scheduled_tasks.runtime.statuses import FINISHED

logger = logging.getLogger(__name__)

Resolution = Rollup.Resolution

#: Entries that one transaction folds at most, and the tasks in them after which it stops: each
#: takes three rows, and other threads of the worker wait meanwhile.
ENTRIES_PER_TRANSACTION, TASKS_PER_TRANSACTION = 20, 200
#: What an entry raises that cannot be read as JSON, or whose figures no column holds.
UNCOUNTABLE = (ValueError, DataError)
#: In characters, of an entry that cannot be counted.
MAX_LOGGED_LENGTH = 2_000
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


def never() -> bool:
    """Return False: nothing ends the work before it is done."""
    return False


def fold_all(*, is_over: Callable[[], bool] = never) -> int:
    """Fold what is there until ``is_over``; return the number of entries.

    It may be called by several workers at once, at any time: an entry is folded once.
    """
    using = write_alias()
    folded = 0
    while True:
        done = fold_some(using=using)
        folded += done
        if not done or is_over():
            return folded


def fold_some(*, using: str = "") -> int:
    """Fold the first entries that no other transaction holds; return how many are done with.

    If they cannot be read or stored together, they are folded one by one. One that cannot be is
    deleted and logged, so that it is not tried for ever.
    """
    using = using or write_alias()
    entries = RollupEntry.objects.using(using)
    try:
        return fold(entries, using=using)
    except UNCOUNTABLE:
        first = entries.order_by("pk").values_list("pk", flat=True)[:ENTRIES_PER_TRANSACTION]
        return sum(fold_or_drop(pk, using=using) for pk in list(first))


def fold(entries: RollupEntryQuerySet, *, using: str) -> int:
    """Fold the first of these entries in one transaction; return how many.

    Facts that cannot be counted are logged, since their entry is deleted.
    """
    count, problems = in_transaction(partial(fold_now, entries, using=using), using=using)
    for problem in problems:
        logger.error(problem)
    return count


def fold_now(entries: RollupEntryQuerySet, *, using: str) -> tuple[int, list[str]]:
    """Fold within a transaction; return how many entries, and what could not be counted.

    Raise LostRaceError, and so retry the transaction, if another worker has folded one of them.
    """
    found = few_tasks(entries.locked(skip=True)[:ENTRIES_PER_TRANSACTION])
    if not found:
        return 0, []
    # First: what was deleted since it was read must not be counted a second time.
    deleted, _ = entries.filter(AnyOf("pk", [entry.pk for entry in found])).delete()
    if deleted != len(found):
        raise LostRaceError(FOLDED_MEANWHILE)
    facts, problems = read_entries(found)
    write(summed(facts), using=using)
    return len(found), problems


def few_tasks(entries: Iterable[RollupEntry]) -> list[RollupEntry]:
    """Return the first entries, up to the one with which they have enough tasks."""
    found, tasks = [], 0
    for entry in entries:
        found.append(entry)
        tasks += len(entry.facts) if isinstance(entry.facts, dict) else 0
        if tasks >= TASKS_PER_TRANSACTION:
            break
    return found


def fold_or_drop(pk: int, *, using: str) -> int:
    """Fold one entry, or delete it if it cannot be; return how many were done with."""
    try:
        return fold(RollupEntry.objects.using(using).filter(pk=pk), using=using)
    except UNCOUNTABLE as error:
        text = drop(pk, using=using)
        if text is None:
            return 0
        said = text[:MAX_LOGGED_LENGTH]
        logger.error("rollup entry %s cannot be counted: %s: %s", pk, said, error)  # noqa: TRY400
        return 1


@transactional
def drop(pk: int, *, using: str = "") -> str | None:
    """Delete an entry; return what it said, None if it is gone."""
    entry = RollupEntry.objects.using(using).filter(pk=pk)
    # As text: the database may hold what Python cannot read as JSON.
    text = entry.annotate(text=Cast("facts", TextField())).values_list("text", flat=True).first()
    return text if entry.delete()[0] else None


def summed(facts: Iterable[TaskFact], resolutions: Collection[str] = Resolution.values) -> Rollups:
    """Return the sums of facts as unsaved rollups, by default by hour, by day and in all."""
    sums: Rollups = {}
    for task_id, name, fact in facts:
        for key in keys_of(task_id, fact, resolutions):
            rollup = sums.get(key) or sums.setdefault(key, new_rollup(key))
            rollup.task_name = name if key.task_id else ""
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
    if fact.status in FINISHED:
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
