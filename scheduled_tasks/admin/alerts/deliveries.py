"""What was sent of an alert and what waits, shown below it."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from scheduled_tasks.admin import display
from scheduled_tasks.models import Alert, Delivery

MAX_DELIVERIES = 50
#: Characters of each error that are shown.
MAX_ERROR_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """One message, as the template shows it. ``moment`` is when it was sent, or will be tried."""

    event: str
    receiver: str
    state: str
    moment: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMessages:
    """The newest messages, oldest first. ``truncated`` is whether there are older ones."""

    shown: list[DeliveryRow]
    truncated: bool


def deliveries_of(alert: Alert) -> SentMessages:
    newest = list(alert.deliveries.order_by("-pk")[: MAX_DELIVERIES + 1])
    rows = reversed(newest[:MAX_DELIVERIES])
    return SentMessages(
        shown=[delivery_row(row) for row in rows], truncated=len(newest) > MAX_DELIVERIES
    )


def delivery_row(delivery: Delivery) -> DeliveryRow:
    return DeliveryRow(
        event=delivery.get_event_display(),
        receiver=receiver(delivery),
        state=state_badge(delivery),
        moment=display.moment(delivery.finished_at or delivery.due_at),
        attempts=delivery.attempts,
        error=display.truncated(delivery.error, MAX_ERROR_LENGTH),
    )


def receiver(delivery: Delivery) -> str:
    """Return the name of the notifier or the addresses of the mail."""
    if delivery.transport == Delivery.Transport.HEARTBEAT:
        # Who has the URL of a heartbeat can report success.
        return delivery.get_transport_display()
    return display.truncated(delivery.target, display.MAX_TEXT_LENGTH)


def state_badge(delivery: Delivery) -> str:
    if delivery.finished_at is None:
        return display.badge("waiting", _("waiting"))
    if delivery.delivered:
        return display.badge("sent", _("sent"))
    if not delivery.attempts:
        # The alert has cleared first.
        return display.badge("withdrawn", _("not sent"))
    return display.badge("given-up", _("given up"))
