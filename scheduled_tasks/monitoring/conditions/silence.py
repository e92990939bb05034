"""Tasks that have not succeeded for too long."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q

from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import TaskChange
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.alerts.condition_settings import condition_settings, threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.wording import in_utc


def no_success(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield the enabled tasks that have not succeeded for as long as they say.

    The time counts anew from when a task was made, enabled or unparked, and from the end of a
    pause: nothing could succeed before.
    """
    pause_end = end_of_last_pause(now, using=using)
    if pause_end is None:
        return
    states = TaskState.objects.using(using).filter(task__enabled=True, parked_at=None)
    if condition_settings()[Condition.NO_SUCCESS].thresholds["no_success_for"] is None:
        states = states.filter(task__no_success_for__isnull=False)
    for state in states.select_related("task").iterator():
        limit = threshold(Condition.NO_SUCCESS, "no_success_for", state.task)
        if limit is None or state.task.is_paused(now):
            continue
        last = state.last_success_at or state.task.created_at
        since = max(last, pause_end, state.task.paused_until or last)
        if now - since > timedelta(seconds=limit) and not restarted(
            state.task, now - timedelta(seconds=limit), using=using
        ):
            yield finding(state.task, state.last_success_at, limit)


def end_of_last_pause(now: datetime, *, using: str) -> datetime | None:
    """Return when the last global pause ended, long ago for none; None during one."""
    pauses = Pause.objects.using(using)
    if pauses.in_force(now).exists():
        return None
    over = pauses.filter(begun_at__lte=now).order_by("-begun_at").first()
    ends = [end for end in (over.until, over.ended_at) if end] if over else []
    return min(ends) if ends else datetime.min.replace(tzinfo=now.tzinfo)


def restarted(task: Task, since: datetime, *, using: str) -> bool:
    """Whether a task was enabled or unparked since a moment."""
    changes = TaskChange.objects.using(using).filter(task=task, changed_at__gt=since)
    enabled = Q(fields__has_key="enabled") | Q(action=TaskChange.Action.UNPARKED)
    return changes.filter(enabled).exists()


def finding(task: Task, last: datetime | None, limit: int) -> Finding:
    last_one = (
        f"Its last successful run began at {in_utc(last)}." if last else "It has never succeeded."
    )
    return Finding(
        condition=Condition.NO_SUCCESS,
        task=task,
        message=f"It has not succeeded for {limit} s. {last_one}",
        details={"last": last and last.isoformat()},
    )
