"""Send one message of the outbox: by a notifier, by mail, or as a heartbeat."""

from __future__ import annotations

from scheduled_tasks.exceptions import NotSent, PermanentError
from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.monitoring.heartbeats import sending as heartbeats
from scheduled_tasks.monitoring.notifiers.loading import load_notifiers
from scheduled_tasks.monitoring.notifiers.mailing import mail_to
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.outbox.links import admin_url
from scheduled_tasks.runtime.wording import duration

Event, Transport = Delivery.Event, Delivery.Transport

#: A message that takes longer has failed, and its thread is left to itself.
MAX_SENDING_SECONDS = 60.0


class UnknownSender(NotSent):
    """A message that newer code may have written: this worker does not know what sends it."""


def send(delivery: Delivery) -> None:
    """Send a message whose alert and task were read with it.

    Raise PermanentError if another attempt cannot help, UnknownSender if one may help elsewhere,
    PartlySent if some receivers have it and others have not, anything else to be tried again.
    """
    if not isinstance(delivery.body, dict):
        raise PermanentError("Its body is not a JSON object, as only SQL by hand can write it.")
    match delivery.transport:
        case Transport.NOTIFIER:
            send_by_notifier(delivery)
        case Transport.MAIL:
            mail_to(delivery.target, notification_of(delivery), left=delivery.left)
        case Transport.HEARTBEAT:
            heartbeats.send(delivery.target, delivery.event, delivery.body)
        case unknown:
            raise UnknownSender(f"This worker has no transport {str(unknown)!r}.")


def not_sent_within(seconds: float) -> str:
    """Return the reason why a message that took longer has failed."""
    return f"It was not sent within {duration(seconds)}."


def send_by_notifier(delivery: Delivery) -> None:
    notifier = load_notifiers().get(delivery.target)
    if notifier is None:
        raise UnknownSender(f"NOTIFIERS of this worker has no {delivery.target!r}.")
    if delivery.left:
        notifier.send_again(notification_of(delivery), delivery.left)
    else:
        notifier.send(notification_of(delivery))


def notification_of(delivery: Delivery) -> Notification:
    """Return what a notifier is told."""
    alert = delivery.alert
    if alert is None:
        raise PermanentError("Its alert was deleted.")
    return Notification(
        id=str(alert.pk),
        event=delivery.event,
        condition=alert.condition,
        severity=alert.severity,
        task=alert.task.name if alert.task else alert.task_name or None,
        subject=alert.subject,
        execution_id=alert.execution_id,
        message=message_of(alert, delivery.event),
        url=admin_url(execution_id=alert.execution_id, task_id=alert.task_id),
        raised_at=alert.raised_at,
        cleared_at=alert.cleared_at if delivery.event == Event.CLEARED else None,
    )


def message_of(alert: Alert, event: str) -> str:
    return alert.cleared_because if event == Event.CLEARED else alert.message
