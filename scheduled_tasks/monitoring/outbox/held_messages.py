"""Messages that maintenance windows and quiet hours hold back, when a window has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.models.maintenance_window import MaintenanceWindow
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.monitoring.outbox.messages import announce, locked_windows, receiver

logger = logging.getLogger(__name__)

#: Messages that one transaction reschedules: meanwhile no alert is raised or cleared.
PAGE_SIZE = 500


def reschedule_held(now: datetime, *, using: str) -> None:
    """Decide again until when messages are held back, within the transaction that changes windows.

    They go out as if the windows had always been what they are now. What nothing holds any more is
    due at once. What has been tried, or is due already, stays as it is. If there are many, the rest
    follows after the commit, some in each transaction.
    """
    last = reschedule_page(now, after=0, using=using)
    if last is not None:
        rest = partial(reschedule_rest, now, after=last, using=using)
        transaction.on_commit(rest, using=using, robust=True)


def reschedule_rest(now: datetime, *, after: int, using: str) -> None:
    last: int | None = after
    while last is not None:
        last = in_transaction(
            partial(reschedule_locked_page, now, after=last, using=using), using=using
        )


def reschedule_locked_page(now: datetime, *, after: int, using: str) -> int | None:
    locked_windows(now, using=using)
    return reschedule_page(now, after=after, using=using)


def reschedule_page(now: datetime, *, after: int, using: str) -> int | None:
    """Reschedule the messages after an id; return the last one if there may be more."""
    held = Delivery.objects.using(using).held(now).filter(pk__gt=after)
    # Heartbeats belong to no alert, and no window holds them.
    held = held.filter(alert__isnull=False).select_related("alert__task").order_by("pk")
    rows = list(held[:PAGE_SIZE])
    if rows:
        try:
            reschedule(rows, using=using)
        except InvalidSettings as error:
            logger.error("messages are held back as before: %s", error)  # noqa: TRY400
            return None
    return rows[-1].pk if len(rows) == PAGE_SIZE else None


def reschedule(rows: Sequence[Delivery], *, using: str) -> None:
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
        to = row.alert and receiver(row.alert, row.transport, row.target, row.created_at, windows)
        yield (to and to.held_until) or row.created_at
