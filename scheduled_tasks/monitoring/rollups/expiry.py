"""Deletes rollups that have been kept long enough."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef

from scheduled_tasks.models.rollup import Rollup, RollupQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import transactional, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.rollups.folding import EPOCH, EVERYTHING, Resolution, never

#: For how many days rollups of an hour, and of a day, are kept.
HOURS_KEPT_DAYS, DAYS_KEPT_DAYS = 90, 3 * 365
#: Rows that one transaction deletes.
BATCH_SIZE = 1_000


def delete_old(now: datetime, *, is_over: Callable[[], bool] = never, using: str = "") -> None:
    """Delete rollups of hours and days that are too old, the oldest first, until ``is_over``."""
    using = using or write_alias()
    for resolution, days in (
        (Resolution.HOUR, HOURS_KEPT_DAYS),
        (Resolution.DAY, DAYS_KEPT_DAYS),
    ):
        rows = Rollup.objects.using(using).filter(resolution=resolution)
        old = rows.filter(start__lt=now - timedelta(days=days)).order_by("start")
        delete_in_batches(old, is_over=is_over, using=using)


def delete_totals_without_task(*, is_over: Callable[[], bool] = never, using: str = "") -> None:
    """Delete the totals of tasks that are deleted, until ``is_over``.

    It reads the totals of all tasks. Totals that are folded later follow the next time.
    """
    using = using or write_alias()
    task = Task.objects.using(using).filter(pk=OuterRef("task_id"))
    # With the start, which all totals share, each database uses the index: totals are few.
    totals = Rollup.objects.using(using).filter(resolution=Resolution.TOTAL, start=EPOCH)
    totals = totals.filter(~Exists(task)).exclude(task_id=EVERYTHING).order_by()
    delete_in_batches(totals, is_over=is_over, using=using)


def delete_in_batches(rows: RollupQuerySet, *, is_over: Callable[[], bool], using: str) -> None:
    while not is_over():
        if delete_some(rows, using=using) < BATCH_SIZE:
            break


@transactional
def delete_some(rows: RollupQuerySet, *, using: str = "") -> int:
    """Delete the first rows; return how many were found."""
    ids = list(rows.values_list("pk", flat=True)[:BATCH_SIZE])
    if ids:
        Rollup.objects.using(using).filter(AnyOf("pk", ids)).delete()
    return len(ids)
