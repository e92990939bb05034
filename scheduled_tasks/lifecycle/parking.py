"""Park tasks that cannot run, unpark them, and restart their clocks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime

from scheduled_tasks.lifecycle import alerting
from scheduled_tasks.lifecycle.changes import change_row, record_changes
from scheduled_tasks.lifecycle.stopping import withdraw_all
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.task_change import BY_ENGINE, TaskChange
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.runtime.sanitizing import redacted_text

logger = logging.getLogger(__name__)


def park(state: TaskState, reason: str, now: datetime, *, using: str, by: str = BY_ENGINE) -> None:
    """Park a locked task, within a transaction: it does not fire until it is unparked.

    Its queued slots end.
    """
    park_all([state], reason, now, using=using, by=by)


def park_all(
    states: Sequence[TaskState],
    reason: str,
    now: datetime,
    *,
    using: str,
    by: str = BY_ENGINE,
    resumable: bool = False,
) -> None:
    """Park locked tasks like ``park``.

    If that is ``resumable``, their clocks go on from where they stand when they are unparked.
    """
    reason = redacted_text(reason)
    for state in states:
        state.resume_at = state.next_run_at if resumable else None
        state.next_run_at = state.covering = None
        # A task that is parked again, for another reason, has been parked since the first.
        state.parked_at = state.parked_at or now
        state.parked_reason = reason
    fields = ("next_run_at", "covering", "parked_at", "parked_reason", "resume_at")
    write(states, fields, using=using)
    withdraw_all({state.pk: state for state in states}, now, reason=reason, using=using)
    record(states, TaskChange.Action.PARKED, now, using=using, by=by, reason=reason)
    alerting.tasks_parked([state.task for state in states], reason, now, using=using)


def unpark(state: TaskState, now: datetime, *, using: str, by: str = BY_ENGINE) -> None:
    """Unpark a locked task, within a transaction: it fires again.

    Its slots count from now on, or from where its clock stood when no worker knew its handler.
    """
    unpark_all([state], now, using=using, by=by)


def unpark_all(
    states: Sequence[TaskState], now: datetime, *, using: str, by: str = BY_ENGINE
) -> None:
    """Unpark locked tasks like ``unpark``."""
    restarted = []
    for state in states:
        state.parked_at, state.parked_reason = None, ""
        if state.resume_at is None or not state.task.enabled:
            restarted.append(state)
        else:
            state.next_run_at, state.resume_at = state.resume_at, None
    fields = ("parked_at", "parked_reason", "next_run_at", "resume_at")
    write(states, fields, using=using)
    record(states, TaskChange.Action.UNPARKED, now, using=using, by=by)
    alerting.tasks_unparked([state.pk for state in states], now, using=using)
    restart_clocks(restarted, now, using=using)


def record(
    states: Iterable[TaskState],
    action: str,
    now: datetime,
    *,
    using: str,
    by: str,
    reason: str = "",
) -> None:
    rows = (
        change_row(state.task, action, now, fields={}, by=by, reason=reason) for state in states
    )
    record_changes(rows, using=using)


def restart_clock(state: TaskState, now: datetime, *, using: str) -> None:
    """Set the next slot to the first one after now, if the task may fire.

    A task whose schedule or policies cannot be followed is parked.
    """
    restart_clocks([state], now, using=using)


def restart_clocks(states: Iterable[TaskState], now: datetime, *, using: str) -> None:
    """Restart the clocks of locked tasks, within a transaction, like ``restart_clock``."""
    followed = []
    for state in states:
        if problem := set_next_slot(state, now):
            park(state, problem, now, using=using)
        else:
            followed.append(state)
    write(followed, ("next_run_at", "covering", "resume_at"), using=using)


def write(states: Iterable[TaskState], fields: Sequence[str], *, using: str) -> None:
    """Write columns of locked states."""
    rows = (
        ({name: getattr(state, name) for name in fields}, {"task_id": state.pk}) for state in states
    )
    update_each(TaskState, rows, using=using)


def set_next_slot(state: TaskState, now: datetime) -> str:
    """Set the next slot of an unsaved state; return why the task has to be parked, or ""."""
    # The clock of the caller may be slow: a slot is never decided twice.
    since = max(now, state.last_slot) if state.last_slot else now
    # Slots before and after a restart share no row.
    state.covering = state.next_run_at = state.resume_at = None
    try:
        if state.task.enabled and state.parked_at is None:
            state.next_run_at = state.task.next_slot(since)
        elif state.task.enabled and state.waits_for_worker:
            state.resume_at = state.task.next_slot(since)
    except Exception as error:  # one bad row must not stop the others
        logger.exception("parked task=%s", state.task.name)
        return str(error) or type(error).__name__
    return ""
