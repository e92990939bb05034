"""Messages that maintenance windows and quiet hours hold back, when a window has changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction

from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.models.maintenance_window import MaintenanceWindow
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.monitoring.outbox.messages import announce, recipients


def reschedule_held(now: datetime, *, using: str) -> None:
    """Decide again until when messages are held back, within a transaction.

    They go out as if the windows had always been what they are now. What nothing holds any more is
    due at once. What has been tried, or is due already, stays as it is.
    """
    held = Delivery.objects.using(using).pending().filter(attempts=0, due_at__gt=now)
    # Heartbeats belong to no alert, and no window holds them.
    rows = list(held.filter(alert__isnull=False).select_related("alert__task").order_by("pk"))
    if not rows:
        return
    oldest = min(row.created_at for row in rows)
    windows = list(MaintenanceWindow.objects.using(using).filter(ends_at__gt=oldest))
    changes = [
        ({"due_at": due_at}, {"id": row.pk, "due_at": row.due_at, "attempts": 0})
        for row, due_at in zip(rows, due_times(rows, windows), strict=True)
        if due_at != row.due_at
    ]
    update_each(Delivery, changes, using=using)
    transaction.on_commit(partial(announce, using), using=using, robust=True)


def due_times(rows: Sequence[Delivery], windows: Sequence[MaintenanceWindow]) -> Iterator[datetime]:
    """Yield when each message may be sent, judged at the moment at which it was written."""
    for row in rows:
        ends = [
            to.held_until
            for to in (recipients(row.alert, row.created_at, windows) if row.alert else ())
            if (to.transport, to.target) == (row.transport, row.target) and to.held_until
        ]
        yield max([row.created_at, *ends])
