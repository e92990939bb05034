"""The operations on maintenance windows: start one, end those in force, save and delete them.

Messages that a window holds back follow its end, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.handlers.declarations import showable
from scheduled_tasks.models import MaintenanceWindow, Task
from scheduled_tasks.models.maintenance_window import MAX_REASON_LENGTH
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.monitoring.outbox.held_messages import reschedule_held
from scheduled_tasks.monitoring.outbox.messages import locked_windows
from scheduled_tasks.operations.tasks import as_task, refuse_past
from scheduled_tasks.runtime.sanitizing import redacted_text


def start_maintenance(
    until: datetime,
    reason: str,
    *,
    task: str | Task | None = None,
    starts_at: datetime | None = None,
    by: str = BY_CODE,
    now: datetime | None = None,
) -> MaintenanceWindow:
    """Hold back the messages about alerts until a moment; return the window.

    It is for one task, or for all tasks and workers. It begins now unless ``starts_at`` says when.
    Raise UnknownTask, or InvalidTask for what cannot be recorded, for a moment that has passed and
    for a window without a reason.
    """
    refuse_unstorable(reason=reason, by=by, limit=MAX_REASON_LENGTH)
    if not reason.strip():
        raise InvalidTask({"reason": [_("must say why.")]})
    refuse_past("until", until, now=now, advice="end_maintenance() ends a window")
    begin = showable("starts_at", starts_at) if starts_at else now or timezone.now()
    if begin >= until:
        raise InvalidTask({"starts_at": [_("must be before the end.")]})
    window = MaintenanceWindow(
        task=None if task is None else as_task(task),
        starts_at=begin,
        ends_at=until,
        reason=reason,
        created_by=by,
    )
    save_window(window, now=now)
    return window


def end_maintenance(*, task: str | Task | None = None, now: datetime | None = None) -> int:
    """End the windows of a task that are in force, or those for everything; return how many.

    What they have held back is sent, unless it has cleared. Raise UnknownTask.
    """
    moment = timezone.now() if now is None else showable("now", now)
    of_task = None if task is None else as_task(task)
    windows = MaintenanceWindow.objects.on_primary().in_force(moment).filter(task=of_task)
    return sum(end_window(window, now=moment) for window in windows)


@transactional
def save_window(window: MaintenanceWindow, *, now: datetime | None = None, using: str = "") -> None:
    """Save a new or changed window without secrets in its reason."""
    moment = now or timezone.now()
    locked_windows(moment, using=using)
    window.reason = redacted_text(window.reason, limit=MAX_REASON_LENGTH)
    window.save(using=using)
    reschedule_held(moment, using=using)


@transactional
def end_window(window: MaintenanceWindow, *, now: datetime | None = None, using: str = "") -> bool:
    """End a window if it is in force; return whether it was."""
    moment = now or timezone.now()
    locked_windows(moment, using=using)
    in_force = MaintenanceWindow.objects.using(using).in_force(moment).filter(pk=window.pk)
    if not in_force.update(ends_at=moment):
        return False
    window.ends_at = moment
    reschedule_held(moment, using=using)
    return True


@transactional
def delete_windows(
    windows: Iterable[MaintenanceWindow], *, now: datetime | None = None, using: str = ""
) -> None:
    """Delete windows. What they have held back is sent, unless it has cleared."""
    moment = now or timezone.now()
    locked_windows(moment, using=using)
    ids = [window.pk for window in windows]
    MaintenanceWindow.objects.using(using).filter(pk__in=ids).delete()
    reschedule_held(moment, using=using)
