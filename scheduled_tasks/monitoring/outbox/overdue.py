"""Messages about alerts that should have been sent long ago."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q

from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.monitoring.outbox.claims import MAX_DOUBLINGS
from scheduled_tasks.runtime.wording import counted, in_utc

#: After this time a message that has not been sent is overdue.
OVERDUE_AFTER = timedelta(minutes=15)
#: The overdue messages that are counted, which bounds the time that it takes.
MAX_COUNTED = 1_000
#: Each heartbeat is about a run; everything else is about an alert.
ABOUT_ALERTS = Q(transport__in=[Delivery.Transport.NOTIFIER, Delivery.Transport.MAIL])
HEARTBEATS = Q(transport=Delivery.Transport.HEARTBEAT)


def is_overdue(now: datetime) -> Q:
    """Return what is true of messages about alerts that have not been sent for too long.

    Each attempt postpones a message, so ``due_at`` alone does not tell. An old message is overdue
    if it was tried often, or has been due for long: others may just have left quiet hours.
    """
    long_ago = now - OVERDUE_AFTER
    tried_or_left = Q(attempts__gt=MAX_DOUBLINGS) | Q(due_at__lte=long_ago)
    return Q(ABOUT_ALERTS, tried_or_left, finished_at=None, created_at__lte=long_ago)


def overdue_sentences(now: datetime, *, using: str) -> Iterator[str]:
    """Yield a sentence about the messages that are overdue, if there are any."""
    overdue = Delivery.objects.using(using).filter(is_overdue(now)).in_order()
    found = overdue[:MAX_COUNTED].aggregate(count=Count("pk"), oldest=Min("created_at"))
    if count := found["count"]:
        least = "At least " if count == MAX_COUNTED else ""
        yield (
            f"{least}{counted(count, 'message')} about alerts could not be sent, the oldest of "
            f"{in_utc(found['oldest'])}: see Alerts in the admin."
        )
