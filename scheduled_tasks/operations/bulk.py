"""The operations on many tasks or executions at once, for selections of any size.

Each is done in batches with a transaction of their own, so whatever stops one of them half-way,
the batches before stay done. Tasks and executions that do not exist are left out.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import partial

from django.utils import timezone

from scheduled_tasks.lifecycle import deleting
from scheduled_tasks.lifecycle.batches import BATCH_SIZE
from scheduled_tasks.lifecycle.bulk_editing import Edits, edit_tasks
from scheduled_tasks.lifecycle.bulk_queueing import Queued, queue_each
from scheduled_tasks.models import Task
from scheduled_tasks.models.pause import MAX_REASON_LENGTH
from scheduled_tasks.operations.tasks import PAUSE_FIELDS, prepare
from scheduled_tasks.runtime.sanitizing import redacted_text

__all__ = [
    "BATCH_SIZE",
    "Edits",
    "Queued",
    "delete_executions",
    "delete_tasks",
    "pause_tasks",
    "reset_tasks_to_code",
    "resume_tasks",
    "run_tasks_now",
    "switch_tasks",
]


def switch_tasks(ids: Collection[int], *, enabled: bool, by: str) -> Edits:
    """Enable or disable tasks."""

    def switch(task: Task) -> Collection[str]:
        task.enabled = enabled
        return ("enabled",)

    return edit_tasks(ids, switch, timezone.now(), by=by)


def pause_tasks(ids: Collection[int], until: datetime, *, reason: str = "", by: str) -> Edits:
    """Pause tasks until a moment."""
    shown = redacted_text(reason, limit=MAX_REASON_LENGTH)

    def pause(task: Task) -> Collection[str]:
        task.paused_until, task.pause_reason = until, shown
        return PAUSE_FIELDS

    return edit_tasks(ids, pause, timezone.now(), by=by)


def resume_tasks(ids: Collection[int], *, by: str) -> Edits:
    """End the pauses of those tasks that are paused."""
    now = timezone.now()

    def resume(task: Task) -> Collection[str]:
        if not task.is_paused(now):
            return ()
        task.paused_until, task.pause_reason = None, ""
        return PAUSE_FIELDS

    return edit_tasks(ids, resume, now, by=by)


def reset_tasks_to_code(ids: Collection[int], *, by: str) -> Edits:
    """Undo what people changed of declared tasks, except ``enabled``."""

    def reset(task: Task) -> Collection[str]:
        names = task.changed_from_code
        for name in names:
            setattr(task, name, task.as_declared(name))
        return names

    return edit_tasks(ids, reset, timezone.now(), by=by)


def run_tasks_now(ids: Collection[int], *, by: str) -> Queued:
    """Queue an execution of each task, with its own payload, like ``run_task_now``."""
    return queue_each(ids, partial(prepare, by=by, now=timezone.now()))


def delete_tasks(ids: Collection[int], *, by: str) -> list[int]:
    """Delete tasks that code does not declare; return their ids. Their history stays."""
    # One by one: a deletion has its own receivers, and cancels what is queued.
    found = Task.objects.select_related("state").filter(pk__in=ids).order_by("pk")
    deleted = [task.pk for task in found if not task.declared_in_code]
    for task in found:
        if not task.declared_in_code:
            task.delete(by=by)
    return deleted


def delete_executions(ids: Collection[int]) -> list[int]:
    """Delete executions with their logs; return the ids. Running ones stay."""
    return deleting.delete_executions(ids)
