"""The outbox: messages are written with what they report, claimed by one worker, and sent.

Claiming and recording are transactions of their own. Nothing is sent here.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256

from django.db import models, transaction

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.delivery import Delivery, DeliveryQuerySet
from scheduled_tasks.models.maintenance_window import MaintenanceWindow
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.routing import Route, routes
from scheduled_tasks.monitoring.notifiers.email import recipients_in
from scheduled_tasks.runtime.sanitizing import redacted_text

Event, Transport = Delivery.Event, Delivery.Transport

#: The delay before the next attempt doubles from one second up to this one.
MAX_RETRY_SECONDS = 300.0
#: After this time a message is given up.
GIVE_UP_AFTER = timedelta(hours=24)
#: The delay has reached its maximum after as many attempts; no message is given up before.
MAX_DOUBLINGS = 9
MAX_LANE_LENGTH = 200
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


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What came of an attempt to send a message; ``error`` is "" if it was delivered.

    ``note`` is what is worth knowing of a message that was.
    """

    delivery_id: int
    error: str = ""
    permanent: bool = False
    note: str = ""


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
    windows = windows_in_force(alerts, now, using=using)
    rows = [
        delivery(alert, Event.RAISED, to, now)
        for alert in alerts
        for to in recipients(alert, now, windows)
    ]
    leave(rows, using=using)


def send_cleared(alerts: Collection[Alert], now: datetime, *, using: str) -> None:
    """Leave a message for those who were told of alerts that have been cleared.

    Who would have been told later, after quiet hours or a maintenance window, is not told at all.
    """
    sent = Delivery.objects.using(using).filter(
        alert__in=[alert.pk for alert in alerts], event=Event.RAISED
    )
    sent.pending().filter(attempts=0, due_at__gt=now).update(
        finished_at=now, error="The alert was cleared before it was due."
    )
    # Not by the rules: the task, or the rule by which they were told, may be gone.
    withdrawn = models.Q(finished_at__isnull=False, delivered=False, attempts=0)
    told = sent.exclude(withdrawn).order_by("pk").values_list("alert", "transport", "target")
    windows = windows_in_force(alerts, now, using=using)
    until = {
        (alert.pk, to.transport, to.target): to.held_until
        for alert in alerts
        for to in recipients(alert, now, windows)
    }
    by_id = {alert.pk: alert for alert in alerts}
    rows = [
        delivery(
            by_id[pk],
            Event.CLEARED,
            Recipient(transport, target, until.get((pk, transport, target))),
            now,
        )
        for pk, transport, target in told
    ]
    leave(rows, using=using)


def send_reminders(reminders: Iterable[tuple[Alert, Route]], now: datetime, *, using: str) -> None:
    """Leave reminders of open alerts, within a transaction."""
    rows = [
        delivery(alert, Event.REMINDER, Recipient(Transport.NOTIFIER, route.notifier), now)
        for alert, route in reminders
    ]
    leave(rows, using=using)


def ends_of_windows(alert: Alert, windows: Iterable[MaintenanceWindow]) -> list[datetime]:
    """Return the ends of the windows that hold back messages about an alert."""
    return [window.ends_at for window in windows if window.task_id in (None, alert.task_id)]


def recipients(
    alert: Alert, now: datetime, windows: Sequence[MaintenanceWindow]
) -> list[Recipient]:
    """Return whom an alert goes to: notifiers, and the addresses in the task's metadata."""
    over = ends_of_windows(alert, windows)
    found = []
    for route in routes(alert.condition, alert.severity, alert.task):
        quiet = route.quiet_hours.end_after(now) if route.quiet_hours else None
        held = max([*over, quiet] if quiet else over, default=None)
        found.append(Recipient(Transport.NOTIFIER, route.notifier, held))
    if addresses := mail_recipients(alert.task):
        found.append(Recipient(Transport.MAIL, addresses, max(over, default=None)))
    return found


def mail_recipients(task: Task | None) -> str:
    """Return the addresses in ``metadata.recipients`` of a task, separated by commas."""
    given = task.metadata.get("recipients") if task and isinstance(task.metadata, dict) else None
    return ", ".join(dict.fromkeys(recipients_in(given))) if given else ""


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
        lane=f"{to.transport} {to.target}"[:MAX_LANE_LENGTH],
        sequence=f"{alert.pk}:{sha256(f'{to.transport} {to.target}'.encode()).hexdigest()[:16]}",
        created_at=now,
        due_at=max(now, to.held_until) if to.held_until else now,
    )


@transactional
def claim_deliveries(
    worker: str,
    now: datetime,
    *,
    limit: int,
    without: Collection[str] = (),
    held: Collection[int] = (),
    using: str = "",
) -> list[Delivery]:
    """Claim messages that are due, and return them with their alerts.

    Those of the lanes ``without`` are left to other workers, or to later. Those ``held`` are being
    sent by this worker: after a standstill its claims may have run out.
    """
    due = Delivery.objects.using(using).due(now).exclude(lane__in=list(without))
    due = due.exclude(pk__in=list(held))
    ids = list(due.order_by("due_at", "pk").values_list("pk", flat=True)[:limit])
    if not ids:
        return []
    until = end_of_claim(now)
    free = Delivery.objects.using(using).due(now)
    # One by one: where rows cannot be locked, only the guard of each UPDATE tells whose it is.
    mine = [
        pk
        for pk in free.filter(pk__in=ids).locked(skip=True).values_list("pk", flat=True)
        if unclaimed(now, using=using)
        .filter(pk=pk)
        .update(claimed_by=worker, claimed_until=until, attempts=models.F("attempts") + 1)
    ]
    claimed = Delivery.objects.using(using).filter(pk__in=mine)
    return list(claimed.select_related("alert", "alert__task").order_by("pk"))


def end_of_claim(now: datetime) -> datetime:
    """Return until when a worker has a message for itself, unless it renews that.

    Others take it over no later than the runs of a worker that has died.
    """
    return now + timedelta(seconds=app_settings.LEASE)


def unclaimed(now: datetime, *, using: str) -> DeliveryQuerySet:
    """Return what waits and is not being sent."""
    free = models.Q(claimed_until=None) | models.Q(claimed_until__lte=now)
    return Delivery.objects.using(using).pending().filter(free)


@transactional
def renew_claims(worker: str, ids: Collection[int], now: datetime, *, using: str = "") -> None:
    """Keep messages that are still being sent."""
    held = Delivery.objects.using(using).pending().filter(pk__in=list(ids), claimed_by=worker)
    held.update(claimed_until=end_of_claim(now))


@transactional
def release_claims(worker: str, ids: Collection[int], *, using: str = "") -> None:
    """Give back messages that were claimed and not tried."""
    held = Delivery.objects.using(using).pending().filter(pk__in=list(ids), claimed_by=worker)
    held.update(claimed_until=None, attempts=models.F("attempts") - 1)


@transactional
def record_results(
    worker: str, results: Sequence[DeliveryResult], now: datetime, *, using: str = ""
) -> list[Delivery]:
    """Write what came of messages; return the rows that were written.

    What another worker has claimed meanwhile is left to it.
    """
    by_id = {result.delivery_id: result for result in results}
    held = Delivery.objects.using(using).pending().filter(pk__in=list(by_id), claimed_by=worker)
    rows = list(held.locked())
    for row in rows:
        apply_result(row, by_id[row.pk], now)
        row.save(using=using, update_fields=RESULT_FIELDS)
    return rows


RESULT_FIELDS = ("claimed_until", "finished_at", "delivered", "error", "due_at")


def apply_result(row: Delivery, result: DeliveryResult, now: datetime) -> None:
    row.claimed_until = None
    if not result.error:
        row.finished_at, row.delivered, row.error = now, True, redacted_text(result.note)
        return
    row.error = redacted_text(result.error)
    doublings = min(row.attempts - 1, MAX_DOUBLINGS)
    wait = timedelta(seconds=min(2.0**doublings, MAX_RETRY_SECONDS))
    # What was held back for longer than that has its attempts, too.
    is_old = now + wait > row.created_at + GIVE_UP_AFTER and row.attempts > MAX_DOUBLINGS
    if result.permanent or is_old:
        row.finished_at = now
    else:
        row.due_at = now + wait
