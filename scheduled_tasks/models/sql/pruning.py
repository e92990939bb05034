"""Rows that expire are deleted some at a time."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from scheduled_tasks.models.sql.transactions import LockingQuerySet, Row, in_transaction


def delete_expired(rows: LockingQuerySet[Row], moment: datetime, *, at_most: int) -> int:
    """Delete rows that had expired by a moment, those that expired first; return how many.

    What another transaction holds is left for the next time.
    """
    expired = rows.on_primary().filter(expires_at__lte=moment)
    return in_transaction(partial(delete_oldest, expired, at_most), using=expired.db)


def delete_oldest(expired: LockingQuerySet[Row], at_most: int) -> int:
    first = list(expired.order_by("expires_at").values_list("pk", flat=True)[:at_most])
    # A DELETE cannot skip rows, and another transaction may be acquiring one of these.
    free = list(expired.filter(pk__in=first).locked(skip=True).values_list("pk", flat=True))
    return expired.filter(pk__in=free).delete()[0] if free else 0
