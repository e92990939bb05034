"""Runs that take longer or shorter than they should, given or learned from the last 14 days."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import models
from django.db.models import OuterRef, Subquery

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.windows import chunks, pages
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts import findings
from scheduled_tasks.monitoring.alerts.concerned import (
    PAGE_SIZE,
    READ_OF_TASK,
    columns_of_task,
    may_be_on,
)
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.monitoring.rollups.figures import Learned, learned
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.statuses import Status

#: Runs of the last 14 days that are enough to learn from.
MIN_RUNS = 20
#: A run is long beyond this many times the learned p95, and never before this many seconds.
LONG_FACTOR, MIN_LONG_SECONDS = 2, 10
#: A run is suspiciously fast below this part of the learned median, if that takes some seconds.
FAST_PART, MIN_MEDIAN_SECONDS = 0.1, 2


class LearnedDurations:
    """What was learned of tasks; kept for an hour, since it changes slowly."""

    def __init__(self) -> None:
        self._known: dict[int, Learned | None] = {}
        self._since: datetime | None = None

    def of(self, tasks: Collection[int], now: datetime, *, using: str) -> Mapping[int, Learned]:
        """Return what was learned of tasks with enough runs."""
        if self._since is None or not self._since <= now < self._since + timedelta(hours=1):
            self._known, self._since = {}, now
        for missing in chunks(sorted(set(tasks).difference(self._known)), PAGE_SIZE):
            found = learned(missing, now, using=using)
            self._known |= {pk: found.get(pk) for pk in missing}
        known = ((pk, self._known[pk]) for pk in set(tasks))
        return {pk: each for pk, each in known if each is not None and each.runs >= MIN_RUNS}


class Durations:
    """The conditions that compare how long runs take."""

    def __init__(self) -> None:
        self.learned = LearnedDurations()

    def running_long(self, now: datetime, *, using: str) -> Iterator[Finding]:
        """Yield the tasks with a run that has been going on for too long."""
        running = Execution.objects.using(using).running().filter(claimed_at__lt=now)
        running = running.filter(may_be_on(Condition.RUNNING_LONG), task__isnull=False)
        # No more than the workers can run at once.
        rows = running.select_related("task").only("claimed_at", *columns_of_task())
        on = [
            (row, row.task)
            for row in rows.order_by("claimed_at")
            if row.task is not None and is_on(Condition.RUNNING_LONG, row.task)
        ]
        unlimited = {task.pk for _, task in on if own_limit(task) is None}
        known = self.learned.of(unlimited, now, using=using)
        for row, task in on:
            limit = own_limit(task) or learned_limit(known.get(task.pk))
            if limit is not None and row.claimed_at and now - row.claimed_at > limit:
                yield findings.running_long(row.pk, task, limit)

    def too_fast(self, now: datetime, *, using: str) -> Iterator[Finding]:
        """Yield the tasks whose last run succeeded in a small part of the usual time."""
        rows = Task.objects.using(using).filter(state__last_status=Status.SUCCESS)
        for tasks in scheduled(rows, Condition.TOO_FAST):
            known = self.learned.of([task.pk for task in tasks], now, using=using)
            usual = {pk: each.p50_ms for pk, each in known.items()}
            slow = [task for task in tasks if usual.get(task.pk, 0) >= MIN_MEDIAN_SECONDS * 1000]
            last = last_successes([task.pk for task in slow], using=using)
            for task in slow:
                run, limit = last.get(task.pk), FAST_PART * usual[task.pk]
                if run and run.duration_ms is not None and run.duration_ms < limit:
                    yield findings.too_fast(run, task, usual[task.pk])

    def over_interval(self, now: datetime, *, using: str) -> Iterator[Finding]:
        """Yield the tasks that usually take longer than the time until their next slot."""
        for tasks in scheduled(Task.objects.using(using), Condition.OVER_INTERVAL):
            known = self.learned.of([task.pk for task in tasks], now, using=using)
            for task in tasks:
                usual = known.get(task.pk)
                interval = interval_of(task, now) if usual else None
                if usual and interval and usual.p50_ms > interval.total_seconds() * 1000:
                    yield findings.over_interval(task, usual.p50_ms, interval)


def own_limit(task: Task) -> timedelta | None:
    """Return the longest runtime that the task or the settings give."""
    seconds = threshold(Condition.RUNNING_LONG, "max_runtime", task)
    return None if seconds is None else timedelta(seconds=seconds)


def learned_limit(known: Learned | None) -> timedelta | None:
    if known is None:
        return None
    seconds = LONG_FACTOR * known.p95_ms / 1000
    return timedelta(seconds=max(seconds, MIN_LONG_SECONDS))


def scheduled(rows: models.QuerySet[Task], condition: str) -> Iterator[list[Task]]:
    """Yield the enabled tasks with a schedule for which a condition is on, in pages."""
    rows = rows.filter(may_be_on(condition, task=""), enabled=True).exclude(schedule="")
    for page in pages(rows.only(*READ_OF_TASK, *Task.SLOT_FIELDS), size=PAGE_SIZE):
        yield [task for task in page if is_on(condition, task)]


def last_successes(tasks: Sequence[int], *, using: str) -> dict[int | None, Execution]:
    """Return the newest successful execution of each of these tasks, by task."""
    if not tasks:
        return {}
    everything = Execution.objects.using(using)
    successes = everything.filter(task=OuterRef("pk"), status=Status.SUCCESS, test_mode=False)
    newest = successes.order_by("-pk").values("pk")[:1]
    rows = Task.objects.using(using).filter(AnyOf("pk", tasks)).order_by()
    ids = [pk for pk in rows.values_list(Subquery(newest), flat=True) if pk is not None]
    last = everything.filter(AnyOf("pk", ids)).only("task", "duration_ms")
    return {execution.task_id: execution for execution in last}


def interval_of(task: Task, now: datetime) -> timedelta | None:
    """Return the time between the next two slots, None if there are not as many."""
    try:
        first = task.next_slot(now)
        second = task.next_slot(first) if first else None
    except Exception:  # noqa: BLE001 -- a row that has become invalid is parked when it is due
        return None
    return second - first if first and second else None
