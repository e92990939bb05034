"""The operations on global pauses: pause all tasks, resume them."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from scheduled_tasks.handlers.declarations import showable
from scheduled_tasks.lifecycle.pausing import begin_pause, end_pauses
from scheduled_tasks.models import Pause
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.operations.tasks import refuse_past


def pause_all_tasks(
    *,
    until: datetime | None = None,
    reason: str = "",
    by: str = BY_CODE,
    now: datetime | None = None,
) -> Pause:
    """Pause all tasks, until a moment or until ``resume_all_tasks``; return the pause.

    Scheduled runs are skipped, and queued executions wait. Running executions continue. The pause
    replaces one that is in force. Raise InvalidTask for what cannot be recorded, and for a moment
    that has passed.
    """
    if now is not None:
        showable("now", now)
    if until is not None:
        refuse_past("until", until, now=now, advice="resume_all_tasks() ends a pause")
    return begin_pause(now or timezone.now(), until=until, reason=reason, by=by)


def resume_all_tasks(*, by: str = BY_CODE, now: datetime | None = None) -> int:
    """End the global pauses that are in force; return how many."""
    if now is not None:
        showable("now", now)
    return end_pauses(now or timezone.now(), by=by)
