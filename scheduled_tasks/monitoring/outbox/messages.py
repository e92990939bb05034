"""The messages of the outbox are written with what they report, in the same transaction."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from hashlib import sha256
from uuid import UUID
from zlib import crc32

from django.db import models, transaction
from django.db.models.functions import Least, Now

from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.models.maintenance_window import MaintenanceWindow
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.quiet_hours import QuietHours
from scheduled_tasks.monitoring.alerts.routing import Route, routes
from scheduled_tasks.runtime.recipients import recipients_in

Event, Transport = Delivery.Event, Delivery.Transport

MAX_LANE_LENGTH = 200
#: Mails to the recipients of tasks go through one server: if it hangs, as many places are held.
MAIL_LANES = 4
#: Set when a transaction of this process has left something in the outbox.
has_new = threading.Event()
#: Set in the processes of workers.
sends_here = threading.Event()


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a message goes to, and until when it is held back, if it is."""

    transport: str
    target: str
    held_until: datetime | None = None


def leave(rows: Sequence[Delivery], *, using: str) -> None:
    """Leave messages within a transaction; after its commit, a worker looks at them."""
    if rows:
        Delivery.objects.using(using).bulk_create(rows)
        transaction.on_commit(partial(announce, using), using=using, robust=True)


def announce(using: str) -> None:
    """Let a worker look at the outbox at once: that of this process, or any other."""
    if sends_here.is_set():
        has_new.set()
    else:
        wake_workers(using)


def send_raised(alerts: Sequence[Alert], now: datetime, *, using: str) -> None:
    """Leave a message for each recipient of new alerts, within a transaction."""
    windows = locked_windows(now, using=using) if alerts else []
    rows = [
        delivery(alert, Event.RAISED, to, now)
        for alert in alerts
        for to in recipients(alert, now, windows)
    ]
    leave(rows, using=using)


def send_to_untold(alert_ids: Collection[UUID], now: datetime, *, using: str) -> None:
    """Leave a message for who would be told of open alerts today and was not, in a transaction.

    So a notifier that is added, or a rule that is mended, also tells of what was open before.
    """
    found = Alert.objects.using(using).open().filter(AnyOf("pk", alert_ids))
    # Locked: another worker may be about to tell the same.
    alerts = list(found.select_related("task").locked().order_by("open_key"))
    windows = locked_windows(now, using=using) if alerts else []
    sent = Delivery.objects.using(using).filter(AnyOf("alert", alert_ids), event=Event.RAISED)
    told = set(sent.order_by().values_list("alert", "transport", "target"))
    mailed = {pk for pk, transport, _ in told if transport == Transport.MAIL}
    messages = [
        delivery(alert, Event.RAISED, to, now)
        for alert in alerts
        for to in recipients(alert, now, windows)
        if (alert.pk, to.transport, to.target) not in told
        # A list of addresses that has changed is not a new recipient.
        and not (to.transport == Transport.MAIL and alert.pk in mailed)
    ]
    leave(messages, using=using)


def send_cleared(alerts: Collection[Alert], now: datetime, *, using: str) -> None:
    """Leave a message for those who were told of alerts that have been cleared.

    Who would have been told later, after quiet hours or a maintenance window, is not told at all.
    """
    # First, as does who changes a window: both go on to the messages that it holds back.
    windows = locked_windows(now, using=using) if alerts else []
    sent = Delivery.objects.using(using).filter(
        alert__in=[alert.pk for alert in alerts], event=Event.RAISED
    )
    sent.held(now).update(finished_at=now, error="The alert was cleared before it was due.")
    # Not by the rules: the task, or the rule by which they were told, may be gone.
    withdrawn = models.Q(finished_at__isnull=False, delivered=False, attempts=0)
    told = sent.exclude(withdrawn).order_by("pk").values_list("alert", "transport", "target")
    by_id = {alert.pk: alert for alert in alerts}
    receivers = [
        (by_id[pk], receiver(by_id[pk], transport, target, now, windows))
        for pk, transport, target in told
    ]
    rows = [delivery(alert, Event.CLEARED, to, now) for alert, to in receivers]
    leave(rows, using=using)


def send_reminders(reminders: Iterable[tuple[Alert, Route]], now: datetime, *, using: str) -> None:
    """Leave reminders of open alerts, within a transaction."""
    rows = [
        delivery(alert, Event.REMINDER, Recipient(Transport.NOTIFIER, route.notifier), now)
        for alert, route in reminders
    ]
    leave(rows, using=using)


def recipients(
    alert: Alert, now: datetime, windows: Sequence[MaintenanceWindow]
) -> list[Recipient]:
    """Return whom an alert goes to: notifiers, and the addresses in the task's metadata.

    ``windows`` are those that are in force, and those that are planned.
    """
    found = [
        Recipient(
            Transport.NOTIFIER,
            route.notifier,
            held_until(alert, now, windows, quiet_hours=route.quiet_hours),
        )
        for route in routes(alert.condition, alert.severity, alert.task)
    ]
    if addresses := mail_recipients(alert.task):
        found.append(Recipient(Transport.MAIL, addresses, held_until(alert, now, windows)))
    return found


def receiver(
    alert: Alert,
    transport: str,
    target: str,
    now: datetime,
    windows: Sequence[MaintenanceWindow],
) -> Recipient:
    """Return whom a message goes to who may not be among the recipients any more.

    Windows hold back what goes to anyone. Quiet hours are those of the rule by which a notifier is
    told now, if there is one.
    """
    named = (
        route.quiet_hours
        for route in routes(alert.condition, alert.severity, alert.task)
        if (transport, target) == (Transport.NOTIFIER, route.notifier)
    )
    quiet_hours = next(named, None)
    return Recipient(transport, target, held_until(alert, now, windows, quiet_hours=quiet_hours))


def held_until(
    alert: Alert,
    now: datetime,
    windows: Sequence[MaintenanceWindow],
    *,
    quiet_hours: QuietHours | None = None,
) -> datetime | None:
    """Return the end of the windows and quiet hours that hold back a message, None without any.

    Where one ends within another, or as another begins, the message waits for the end of that, too.
    """
    moment = now
    while True:
        ends = ends_of_windows(alert, [window for window in windows if window.covers(moment)])
        if quiet_hours and (end := quiet_hours.end_after(moment)):
            ends.append(end)
        later = max(ends, default=moment)
        if later <= moment:
            return moment if moment > now else None
        moment = later


def ends_of_windows(alert: Alert, windows: Iterable[MaintenanceWindow]) -> list[datetime]:
    """Return the ends of the windows that hold back messages about an alert."""
    return [window.ends_at for window in windows if window.task_id in (None, alert.task_id)]


def mail_recipients(task: Task | None) -> str:
    """Return the addresses in ``metadata.recipients`` of a task, separated by commas."""
    given = task.metadata.get("recipients") if task and isinstance(task.metadata, dict) else None
    return ", ".join(dict.fromkeys(recipients_in(given))) if given else ""


def locked_windows(now: datetime, *, using: str) -> list[MaintenanceWindow]:
    """Lock and return the windows that are in force or planned, within a transaction.

    A transaction that changes a window then sees every message that the window holds back.
    """
    return list(MaintenanceWindow.objects.using(using).not_over(now).locked())


def windows_in_force(
    alerts: Collection[Alert], now: datetime, *, using: str
) -> list[MaintenanceWindow]:
    if not alerts:
        return []
    return list(MaintenanceWindow.objects.using(using).in_force(now))


def delivery(alert: Alert, event: str, to: Recipient, now: datetime) -> Delivery:
    return Delivery(
        alert=alert,
        transport=to.transport,
        event=event,
        target=to.target,
        lane=lane_of(to),
        sequence=sequence_of(alert, to),
        created_at=now,
        due_at=max(now, to.held_until) if to.held_until else at_once(now),
    )


def at_once(now: datetime) -> Least:
    """Return the time of a message that nothing holds back, for the database to compute.

    It is the database's where the host's clock is ahead of it, as that of a web server may be: the
    worker would wait until its own has come as far.
    """
    return Least(models.Value(now), Now())


def sequence_of(alert: Alert, to: Recipient) -> str:
    """Return the sequence of the messages about an alert to one recipient."""
    receiver = sha256(f"{to.transport} {to.target}".encode()).hexdigest()[:16]
    return f"{alert.pk}:{receiver}"


def lane_of(to: Recipient) -> str:
    """Return the lane of the outbox. A lane is for what hangs together.

    Each notifier has its own. Mails to the recipients of tasks share a few lanes.
    """
    if to.transport == Transport.MAIL:
        return f"{to.transport} {crc32(to.target.encode()) % MAIL_LANES}"
    return f"{to.transport} {to.target}"[:MAX_LANE_LENGTH]
