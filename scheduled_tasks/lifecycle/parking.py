"""Park tasks that cannot run, unpark them, and restart their clocks."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from scheduled_tasks.lifecycle import alerting
from scheduled_tasks.lifecycle.changes import record_change
from scheduled_tasks.lifecycle.stopping import withdraw
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.task_change import BY_ENGINE, TaskChange
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.runtime.sanitizing import redacted_text

logger = logging.getLogger(__name__)


def park(
    state: TaskState,
    reason: str,
    now: datetime,
    *,
    using: str,
    by: str = BY_ENGINE,
    resume_at: datetime | None = None,
) -> None:
    """Park a locked task, within a transaction: it does not fire until it is unparked.

    Its queued slots end. With ``resume_at``, its clock goes on from there when it is unparked.
    """
    state.next_run_at = state.covering = None
    state.resume_at = resume_at
    # A task that is parked again, for another reason, has been parked since the first.
    state.parked_at = state.parked_at or now
    state.parked_reason = reason = redacted_text(reason)
    fields = ["next_run_at", "covering", "parked_at", "parked_reason", "resume_at"]
    state.save(update_fields=fields, using=using)
    withdraw(state, now, reason=reason, using=using)
    action = TaskChange.Action.PARKED
    record_change(state.task, action, now, using=using, by=by, reason=reason)
    alerting.task_parked(state.task, reason, now, using=using)


def unpark(state: TaskState, now: datetime, *, using: str, by: str = BY_ENGINE) -> None:
    """Unpark a locked task, within a transaction: it fires again.

    Its slots count from now on, or from where its clock stood when no worker knew its handler.
    """
    state.parked_at, state.parked_reason = None, ""
    state.save(update_fields=["parked_at", "parked_reason"], using=using)
    record_change(state.task, TaskChange.Action.UNPARKED, now, using=using, by=by)
    alerting.task_unparked(state.task, now, using=using)
    if state.resume_at is None or not state.task.enabled:
        restart_clock(state, now, using=using)
        return
    state.next_run_at, state.resume_at = state.resume_at, None
    state.save(update_fields=["next_run_at", "resume_at"], using=using)


def restart_clock(state: TaskState, now: datetime, *, using: str) -> None:
    """Set the next slot to the first one after now, if the task may fire.

    A task whose schedule or policies cannot be followed is parked.
    """
    if problem := set_next_slot(state, now):
        park(state, problem, now, using=using)
    else:
        state.save(update_fields=["next_run_at", "covering", "resume_at"], using=using)


def restart_clocks(states: Iterable[TaskState], now: datetime, *, using: str) -> None:
    """Restart the clocks of locked tasks, within a transaction, like ``restart_clock``."""
    followed = []
    for state in states:
        if problem := set_next_slot(state, now):
            park(state, problem, now, using=using)
        else:
            values = {"next_run_at": state.next_run_at, "covering": state.covering}
            followed.append((values, {"task_id": state.pk}))
    update_each(TaskState, followed, using=using)


def set_next_slot(state: TaskState, now: datetime) -> str:
    """Set the next slot of an unsaved state; return why the task has to be parked, or ""."""
    # The clock of the caller may be slow: a slot is never decided twice.
    since = max(now, state.last_slot) if state.last_slot else now
    # Slots before and after a restart share no row.
    waits_for_worker = state.resume_at is not None
    state.covering = state.next_run_at = state.resume_at = None
    try:
        if state.task.enabled and state.parked_at is None:
            state.next_run_at = state.task.next_slot(since)
        elif state.task.enabled and waits_for_worker:
            state.resume_at = state.task.next_slot(since)
    except Exception as error:  # one bad row must not stop the others
        logger.exception("parked task=%s", state.task.name)
        return str(error) or type(error).__name__
    return ""
