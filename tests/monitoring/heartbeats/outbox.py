"""An outbox at its smallest: claim, send, write what came of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from scheduled_tasks.exceptions import OutgoingError, PermanentError
from scheduled_tasks.models import Delivery
from scheduled_tasks.monitoring.heartbeats.sending import send


def deliver_all(now: datetime) -> int:
    """Send what is due, first things first, until nothing is; return the count of deliveries."""
    sent = 0
    while delivery := Delivery.objects.due(now).first():
        outcome = {"finished_at": now, "delivered": True}
        try:
            send(delivery.target, delivery.event, delivery.body)
        except PermanentError as error:
            outcome = {"finished_at": now, "error": str(error)}
        except OutgoingError as error:
            outcome = {"due_at": now + timedelta(seconds=1), "error": str(error)}
        else:
            sent += 1
        Delivery.objects.filter(pk=delivery.pk, finished_at=None).update(**outcome)
    return sent


def events() -> list[str]:
    """Return the events that wait in the outbox, in order."""
    return list(Delivery.objects.pending().order_by("pk").values_list("event", flat=True))
