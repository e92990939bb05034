"""The operations on alerts: clear them by hand, and send a test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread

from django.db import connections
from django.utils import timezone

from scheduled_tasks.exceptions import NotSent, PartlySent, UnknownNotifier
from scheduled_tasks.handlers.declarations import showable
from scheduled_tasks.mistakes import advice
from scheduled_tasks.models import Alert
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.models.sql.windows import chunks
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.monitoring.alerts import raising
from scheduled_tasks.monitoring.alerts.clearing import lock_open
from scheduled_tasks.monitoring.notifiers import Notifier
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.monitoring.notifiers.loading import load_notifiers
from scheduled_tasks.monitoring.notifiers.notification import RAISED, Notification
from scheduled_tasks.monitoring.notifiers.phrases import TEST
from scheduled_tasks.monitoring.outbox.sending import MAX_SENDING_SECONDS, not_sent_within
from scheduled_tasks.runtime.conditions import Severity

#: Alerts that one transaction clears.
BATCH_SIZE = 100


def clear_alerts(
    alerts: Iterable[Alert], *, by: str = BY_CODE, now: datetime | None = None
) -> list[Alert]:
    """Clear alerts by hand; return those that were open.

    A condition that still holds raises a new alert, at the next scan or the next failure. Raise
    InvalidTask for what cannot be recorded.
    """
    refuse_unstorable(by=by)
    moment = timezone.now() if now is None else showable("now", now)
    # In batches with a transaction of their own: what stops one of them leaves the others done.
    return [
        alert
        for batch in chunks(list(alerts), BATCH_SIZE)
        for alert in clear_batch(batch, moment, by=by)
    ]


@transactional
def clear_batch(alerts: Sequence[Alert], now: datetime, *, by: str, using: str = "") -> list[Alert]:
    found = lock_open(alerts, using=using)
    raising.clear_alerts(found, f"Cleared by {by}.", now, using=using)
    return found


def send_test_alert(
    name: str, *, now: datetime | None = None, timeout: float = MAX_SENDING_SECONDS
) -> Notifier:
    """Send a test by the notifier with this name, at once and without a worker; return it.

    As text, a notifier says where it sends to. Raise UnknownNotifier, InvalidSettings if the
    notifiers cannot be made, and NotSent with the reason if the test did not arrive, or not within
    ``timeout`` seconds.
    """
    if now is not None:
        showable("now", now)
    notifier = notifier_called(name)
    notification = notification_of_test(name, now or timezone.now())
    error = failure_within(timeout, partial(notifier.send, notification))
    if error is not None:
        others = " The other receivers have got it." if isinstance(error, PartlySent) else ""
        raise NotSent(error_text(error) + others) from error
    return notifier


def failure_within(seconds: float, send: Callable[[], None]) -> BaseException | None:
    """Call a function in a thread, and return what it raises; NotSent if it takes longer.

    A thread that hangs is left to itself.
    """
    failures: SimpleQueue[BaseException | None] = SimpleQueue()
    thread = Thread(target=put_failure, args=(send, failures), name="send test", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        return error
    try:
        return failures.get(timeout=seconds)
    except Empty:
        return NotSent(not_sent_within(seconds))


def put_failure(send: Callable[[], None], failures: SimpleQueue[BaseException | None]) -> None:
    failure = None
    try:
        send()
    except BaseException as error:  # noqa: BLE001 -- also sys.exit() in a project's own notifier
        failure = error
    connections.close_all()  # of a callable that has used the database
    failures.put(failure)


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
        message="This is a test, sent on request. Nothing is wrong.",
        url=None,
        raised_at=now,
        cleared_at=None,
    )
