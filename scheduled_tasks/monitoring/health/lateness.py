"""What is due and has not been done: slots that were not fired, executions not claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, TaskState, Worker
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.models.task_state import TaskStateQuerySet
from scheduled_tasks.monitoring.health.live_workers import (
    claimable_by,
    handlers_of,
    live_workers,
    up_for,
)
from scheduled_tasks.runtime.wording import in_utc


@dataclass(frozen=True, slots=True)
class OldestDue:
    """What has been due for longest: a slot of a task, or one of its executions."""

    since: datetime
    task_id: int | None
    task_name: str
    execution_id: int | None = None

    def __str__(self) -> str:
        """Return a sentence."""
        since = in_utc(self.since)
        if self.execution_id is None:
            return f"Task {self.task_name} was due at {since} and has not been fired."
        what = f"Execution #{self.execution_id} of {self.task_name}"
        return f"{what} has been due since {since} and no worker has claimed it."


def tolerance() -> timedelta:
    """Return how late is too late for a working scheduler."""
    return timedelta(seconds=app_settings.MISFIRE_THRESHOLD + app_settings.POLL_INTERVAL)


def latest_due(
    now: datetime, *, using: str = "", workers: Sequence[Worker] | None = None
) -> OldestDue | None:
    """Return what is later than the tolerance, although a worker was there to do it in time.

    None if nothing is. The workers are those that are alive, unless others are given.
    """
    longest = tolerance()
    workers = live_workers(now, using=using) if workers is None else workers
    able = up_for(longest.total_seconds(), workers, now)
    oldest = oldest_due(now, using=using, workers=able)
    return oldest if oldest and now - oldest.since >= longest else None


def oldest_due(
    now: datetime, *, using: str = "", workers: Sequence[Worker] | None = None
) -> OldestDue | None:
    """Return what has been due for longest of what these workers could do, None for nothing.

    The workers are those that are alive, unless others are given. What a pause, an earlier
    execution or a lost run holds back is not due.
    """
    using = using or write_alias()
    workers = live_workers(now, using=using) if workers is None else workers
    if not workers:
        return None
    found = (oldest_slot(now, workers, using=using), oldest_execution(now, workers, using=using))
    return min((due for due in found if due), key=lambda due: due.since, default=None)


def oldest_slot(now: datetime, workers: Sequence[Worker], *, using: str) -> OldestDue | None:
    states = may_be_fired(now, workers, using=using)
    state = states.select_related("task").first()
    if state is None or state.next_run_at is None:
        return None
    return OldestDue(state.next_run_at, state.pk, state.task.name)


def may_be_fired(now: datetime, workers: Sequence[Worker], *, using: str) -> TaskStateQuerySet:
    """Return the states of tasks with a slot by ``now`` that these workers fire, the oldest first.

    A pause holds no slot back: its slots are covered when they come.
    """
    due = TaskState.objects.using(using).due(now).filter(task__enabled=True, parked_at=None)
    return due.handled_by(handlers_of(workers)).order_by("next_run_at", "pk")


def oldest_execution(now: datetime, workers: Sequence[Worker], *, using: str) -> OldestDue | None:
    queued = Execution.objects.using(using).queued().filter(run_after__lte=now)
    # A suspect waits until a worker has nothing else to do, however long that is.
    free = queued.not_held_back(now).filter(claimable_by(workers), probation_seconds=None)
    row = free.order_by("run_after", "pk").values_list("run_after", "task", "task_name", "pk")
    first = row.first()
    return OldestDue(*first) if first else None
