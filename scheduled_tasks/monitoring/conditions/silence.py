"""Tasks that have not succeeded for too long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

from django.db.models import Max, Q

from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.windows import pages
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import TaskChange
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.alerts import findings
from scheduled_tasks.monitoring.alerts.concerned import (
    MAX_FINDINGS,
    PAGE_SIZE,
    columns_of_task,
    has_alert,
    may_be_on,
)
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.runtime.conditions import Condition


def no_success(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield tasks without an open alert that have not succeeded for as long as they say."""
    return islice(silent_tasks(now, using=using), MAX_FINDINGS)


def silent_tasks(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield the enabled tasks without an open alert that have been silent for too long.

    The time starts again when a task is made, enabled or unparked, and at the end of a pause:
    nothing could succeed before. The limit of the settings is for tasks that run by themselves; one
    without a further slot needs a limit of its own.
    """
    pause_end = end_of_last_pause(now, using=using)
    if pause_end is None:
        return
    states = TaskState.objects.using(using).filter(may_be_on(Condition.NO_SUCCESS))
    states = states.filter(~has_alert(Condition.NO_SUCCESS, "pk", using=using))
    states = states.filter(task__enabled=True, parked_at=None).exclude(task__paused_until__gt=now)
    has_limit, has_slot = Q(task__no_success_for__isnull=False), Q(next_run_at__isnull=False)
    states = states.filter(has_limit if no_success_for(None) is None else has_limit | has_slot)
    rows = states.select_related("task").only("last_success_at", *columns_of_task("created_at"))
    for page in pages(rows, size=PAGE_SIZE):
        silent = [state for state in page if is_silent(state, pause_end, now)]
        restarts = last_restarts([state.pk for state in silent], using=using)
        for state in silent:
            limit = no_success_for(state.task) or timedelta()
            restart = restarts.get(state.pk)
            if restart is None or now - restart >= limit:
                yield findings.no_success(state.task, state.last_success_at, limit)


def no_success_for(task: Task | None) -> timedelta | None:
    """Return how long a task may go without success, None for no limit."""
    seconds = threshold(Condition.NO_SUCCESS, "no_success_for", task)
    return None if seconds is None else timedelta(seconds=seconds)


def is_silent(state: TaskState, pause_end: datetime, now: datetime) -> bool:
    """Whether a task has not succeeded for too long, unless it was enabled or unparked since."""
    task, limit = state.task, no_success_for(state.task)
    if limit is None or not is_on(Condition.NO_SUCCESS, task):
        return False
    last = state.last_success_at or task.created_at
    return now - max(last, pause_end, task.paused_until or last) > limit


def end_of_last_pause(now: datetime, *, using: str) -> datetime | None:
    """Return when the last global pause ended, long ago for none; None during one."""
    pauses = Pause.objects.using(using)
    if pauses.in_force(now).exists():
        return None
    over = pauses.filter(begun_at__lte=now).order_by("-begun_at").first()
    ends = [end for end in (over.until, over.ended_at) if end] if over else []
    return min(ends) if ends else datetime.min.replace(tzinfo=now.tzinfo)


def last_restarts(tasks: Sequence[int], *, using: str) -> Mapping[int | None, datetime]:
    """Return when tasks were last enabled or unparked, by task; most never were."""
    if not tasks:
        return {}
    changes = TaskChange.objects.using(using).filter(AnyOf("task", tasks)).order_by()
    restarts = changes.filter(Q(fields__has_key="enabled") | Q(action=TaskChange.Action.UNPARKED))
    return dict(restarts.values_list("task").annotate(Max("changed_at")))
