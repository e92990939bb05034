"""The operations on alerts: send a test."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.utils import timezone

from scheduled_tasks.exceptions import NotSent, UnknownNotifier
from scheduled_tasks.handlers.declarations import showable
from scheduled_tasks.mistakes import advice
from scheduled_tasks.monitoring.notifiers import Notifier
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.monitoring.notifiers.loading import load_notifiers
from scheduled_tasks.monitoring.notifiers.notification import RAISED, Notification
from scheduled_tasks.monitoring.notifiers.phrases import TEST
from scheduled_tasks.runtime.conditions import Severity


def send_test_alert(name: str, *, now: datetime | None = None) -> Notifier:
    """Send a test by the notifier with this name, at once and without a worker; return it.

    As text, a notifier says where it sends to. Raise UnknownNotifier, InvalidSettings if the
    notifiers cannot be made, and NotSent with the reason if the test did not arrive.
    """
    if now is not None:
        showable("now", now)
    notifier = notifier_called(name)
    try:
        notifier.send(notification_of_test(name, now or timezone.now()))
    except Exception as error:
        raise NotSent(error_text(error)) from error
    return notifier


def notifier_called(name: str) -> Notifier:
    notifiers = load_notifiers()
    if name in notifiers:
        return notifiers[name]
    said = (
        advice(name, sorted(notifiers)) if notifiers else "SCHEDULED_TASKS['NOTIFIERS'] has none."
    )
    raise UnknownNotifier(f"There is no notifier {name!r}: {said}")


def notification_of_test(name: str, now: datetime) -> Notification:
    return Notification(
        id=str(uuid.uuid4()),
        event=RAISED,
        condition=TEST,
        severity=Severity.INFO.value,
        task=None,
        subject=name,
        execution_id=None,
        message="This is a test that a person has asked for. Nothing is wrong.",
        url=None,
        raised_at=now,
        cleared_at=None,
    )
