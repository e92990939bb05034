"""The reminders of open alerts that are due: for whom, and when again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.delivery import Delivery, DeliveryQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.monitoring.alerts.routing import Route, routes
from scheduled_tasks.monitoring.outbox.messages import (
    Recipient,
    ends_of_windows,
    sequence_of,
    windows_in_force,
)

#: An alert, and the routes by which its reminders are due.
Reminder = tuple[Alert, Sequence[Route]]


class Wanted(NamedTuple):
    """A reminder that a route asks for, and how often."""

    alert: Alert
    route: Route
    every: timedelta


def due_reminders(alerts: Iterable[Alert], now: datetime, *, using: str) -> list[Reminder]:
    """Return the reminders of open alerts that are due, by alert.

    A reminder comes some time after the message before it has been sent. While that one waits,
    there is none: otherwise they would pile up as long as a receiver is down.
    """
    wanted = outside_windows(wanted_reminders(alerts), now, using=using)
    wanted = without(wanted, pending(wanted, using=using))
    wanted = without(wanted, sent_of_late(wanted, now, using=using))
    wanted = without(wanted, quiet(wanted, now))
    # Last: it reads all messages to those who are left, which are few at each scan.
    told = with_messages(wanted, using=using)
    due: dict[Alert, list[Route]] = {}
    for key, each in wanted.items():
        if key in told:
            due.setdefault(each.alert, []).append(each.route)
    return list(due.items())


def wanted_reminders(alerts: Iterable[Alert]) -> dict[str, Wanted]:
    """Return the reminders that routes ask for, by the sequence of their messages."""
    notifier = Delivery.Transport.NOTIFIER
    return {
        sequence_of(alert, Recipient(notifier, route.notifier)): Wanted(
            alert, route, route.remind_every
        )
        for alert in alerts
        for route in routes(alert.condition, alert.severity, alert.task)
        if route.remind_every is not None
    }


def outside_windows(
    wanted: Mapping[str, Wanted], now: datetime, *, using: str
) -> dict[str, Wanted]:
    """Leave out what maintenance windows hold back."""
    windows = windows_in_force([each.alert for each in wanted.values()], now, using=using)
    return {key: each for key, each in wanted.items() if not ends_of_windows(each.alert, windows)}


def without(wanted: Mapping[str, Wanted], sequences: Collection[str]) -> dict[str, Wanted]:
    return {key: each for key, each in wanted.items() if key not in sequences}


def pending(wanted: Collection[str], *, using: str) -> set[str]:
    """Return the sequences with a message that waits."""
    return sequences_in(Delivery.objects.using(using).pending(), wanted)


def sent_of_late(wanted: Mapping[str, Wanted], now: datetime, *, using: str) -> set[str]:
    """Return the sequences with a message that was sent, or given up, too short a time ago."""
    by_time: dict[timedelta, list[str]] = {}
    for key, each in wanted.items():
        by_time.setdefault(each.every, []).append(key)
    found: set[str] = set()
    # For each time by itself: along the index, a query reads only what was sent within it.
    for every, keys in by_time.items():
        late = Delivery.objects.using(using).filter(finished_at__gt=now - every)
        found |= sequences_in(late, keys)
    return found


def quiet(wanted: Mapping[str, Wanted], now: datetime) -> set[str]:
    """Return the sequences to notifiers that are not to be disturbed."""
    return {
        key
        for key, each in wanted.items()
        if each.route.quiet_hours is not None and each.route.quiet_hours.end_after(now)
    }


def with_messages(wanted: Collection[str], *, using: str) -> set[str]:
    """Return the sequences of those who were told of their alert."""
    return sequences_in(Delivery.objects.using(using).all(), wanted)


def sequences_in(rows: DeliveryQuerySet, sequences: Collection[str]) -> set[str]:
    """Return those of these sequences that have a message among the rows."""
    if not sequences:
        return set()
    found = rows.filter(AnyOf("sequence", list(sequences))).order_by()
    return set(found.values_list("sequence", flat=True).distinct())
