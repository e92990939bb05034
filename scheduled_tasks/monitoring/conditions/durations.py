"""Runs that take longer or shorter than they should, given or learned from the last 14 days."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.monitoring.conditions.late_slots import MAX_FINDINGS
from scheduled_tasks.monitoring.rollups.figures import Learned, learned
from scheduled_tasks.runtime.conditions import Condition

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
        if missing := set(tasks).difference(self._known):
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
        rows = running.exclude(task=None).select_related("task").order_by("claimed_at")
        on = [
            (row, row.task)
            for row in rows[:MAX_FINDINGS]
            if row.task is not None and is_on(Condition.RUNNING_LONG, row.task)
        ]
        unlimited = {task.pk for _, task in on if own_limit(task) is None}
        known = self.learned.of(unlimited, now, using=using)
        for row, task in on:
            limit = own_limit(task) or learned_limit(known.get(task.pk))
            if limit is not None and row.claimed_at and now - row.claimed_at > limit:
                yield Finding(
                    condition=Condition.RUNNING_LONG,
                    task=task,
                    execution_id=row.pk,
                    message=f"Execution {row.pk} has been running for more than "
                    f"{limit.total_seconds():g} s.",
                )

    def too_fast(self, now: datetime, *, using: str) -> Iterator[Finding]:
        """Yield the tasks whose last run succeeded in a small part of the usual time."""
        tasks = [task for task in scheduled(using=using) if is_on(Condition.TOO_FAST, task)]
        known = self.learned.of([task.pk for task in tasks], now, using=using)
        for task in tasks:
            usual = known.get(task.pk)
            if usual is None or usual.p50_ms < MIN_MEDIAN_SECONDS * 1000:
                continue
            last = last_success(task, using=using)
            if (
                last
                and last.duration_ms is not None
                and last.duration_ms < FAST_PART * usual.p50_ms
            ):
                yield Finding(
                    condition=Condition.TOO_FAST,
                    task=task,
                    execution_id=last.pk,
                    message=f"Execution {last.pk} succeeded after {last.duration_ms / 1000:g} s. "
                    f"Usually it takes {usual.p50_ms / 1000:g} s.",
                )

    def over_interval(self, now: datetime, *, using: str) -> Iterator[Finding]:
        """Yield the tasks that usually take longer than the time until their next slot."""
        tasks = [task for task in scheduled(using=using) if is_on(Condition.OVER_INTERVAL, task)]
        known = self.learned.of([task.pk for task in tasks], now, using=using)
        for task in tasks:
            usual, interval = known.get(task.pk), interval_of(task, now)
            if usual and interval and usual.p50_ms > interval.total_seconds() * 1000:
                yield Finding(
                    condition=Condition.OVER_INTERVAL,
                    task=task,
                    message=f"It usually takes {usual.p50_ms / 1000:g} s, and its slots are "
                    f"{interval.total_seconds():g} s apart.",
                )


def own_limit(task: Task) -> timedelta | None:
    """Return the longest runtime that the task or the settings give."""
    seconds = threshold(Condition.RUNNING_LONG, "max_runtime", task)
    return None if seconds is None else timedelta(seconds=seconds)


def learned_limit(known: Learned | None) -> timedelta | None:
    if known is None:
        return None
    seconds = LONG_FACTOR * known.p95_ms / 1000
    return timedelta(seconds=max(seconds, MIN_LONG_SECONDS))


def scheduled(*, using: str) -> Iterator[Task]:
    """Yield the enabled tasks with a schedule."""
    yield from Task.objects.using(using).filter(enabled=True).exclude(schedule="").iterator()


def last_success(task: Task, *, using: str) -> Execution | None:
    """Return the newest run of a task that succeeded, if its last run of note did."""
    state = TaskState.objects.using(using).filter(pk=task.pk).first()
    if state is None or state.last_status != Execution.Status.SUCCESS:
        return None
    rows = Execution.objects.using(using).filter(task=task, status=Execution.Status.SUCCESS)
    return rows.filter(test_mode=False).order_by("-pk").first()


def interval_of(task: Task, now: datetime) -> timedelta | None:
    """Return the time between the next two slots, None if there are not as many."""
    try:
        first = task.next_slot(now)
        second = task.next_slot(first) if first else None
    except Exception:  # noqa: BLE001 -- a row that has become invalid is parked when it is due
        return None
    return second - first if first and second else None
