"""Pause: while a global pause is in force, nothing is fired or claimed."""

from __future__ import annotations

from datetime import datetime

from scheduled_tasks.models.pause import MAX_REASON_LENGTH, Pause
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.runtime.sanitizing import redacted_text


@transactional
def begin_pause(
    now: datetime,
    *,
    until: datetime | None = None,
    reason: str = "",
    by: str = "",
    using: str = "",
) -> Pause:
    """Pause everything from now on, until a moment or until ``end_pauses``; return the pause.

    It replaces one that is in force. Raise InvalidTask for what cannot be recorded.
    """
    refuse_unstorable(reason=reason, by=by, limit=MAX_REASON_LENGTH)
    pauses = Pause.objects.using(using)
    pauses.in_force(now).update(ended_at=now, ended_by=by)
    wake_workers(using)
    reason = redacted_text(reason, limit=MAX_REASON_LENGTH)
    return pauses.create(begun_at=now, until=until, reason=reason, begun_by=by)


@transactional
def end_pauses(now: datetime, *, by: str = "", using: str = "") -> int:
    """End the pauses that are in force; return how many."""
    refuse_unstorable(by=by)
    ended = Pause.objects.using(using).in_force(now).update(ended_at=now, ended_by=by)
    if ended:
        wake_workers(using)
    return ended
