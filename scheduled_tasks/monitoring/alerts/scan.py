"""The scan: raise and clear what no transaction of the life cycle shows.

It reads what is stored and open, so it does not matter which worker does it, or whether several do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from django.db import DatabaseError

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import AWAY, in_transaction, is_conflict, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.clearing import (
    NO_LONGER_SO,
    lock_what_is_over,
    reasons_to_clear,
)
from scheduled_tasks.monitoring.alerts.open_alerts import OpenAlerts
from scheduled_tasks.monitoring.alerts.raising import Finding, clear_alerts, raise_alerts
from scheduled_tasks.monitoring.alerts.reminders import Reminder, due_reminders
from scheduled_tasks.monitoring.conditions import fleet, late_slots, silence
from scheduled_tasks.monitoring.conditions.confirmed import Confirmed
from scheduled_tasks.monitoring.conditions.durations import Durations
from scheduled_tasks.monitoring.outbox.messages import send_reminders, send_to_untold
from scheduled_tasks.runtime.conditions import Condition

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
Find = Callable[..., Iterable[Finding] | None]
#: Seconds between two looks at what changes slowly, or takes longer to find.
SLOW, SLOWER = 60.0, 300.0
#: What is written in one transaction.
BATCH_SIZE = 100


@dataclass(frozen=True, slots=True)
class Watched:
    """A condition that is found by looking: every so many seconds, at each scan by default.

    ``lasts`` says that its alerts are cleared as soon as it is not found any more; the others have
    rules of their own in ``clearing``.
    """

    condition: str
    find: Find
    every: float = 0.0
    lasts: bool = True


def watched_conditions() -> tuple[Watched, ...]:
    """Return what is looked at; some of it remembers what earlier scans have found."""
    durations = Durations()
    behind = Confirmed(Condition.SCHEDULER_BEHIND, fleet.scheduler_behind)
    # Workers restart within a lease while a release is deployed.
    too_few = Confirmed(
        Condition.TOO_FEW_WORKERS, fleet.too_few_workers, seconds=lambda: app_settings.LEASE
    )
    invariants = Confirmed(Condition.INVARIANT, fleet.invariants)
    return (
        Watched(Condition.MISSED, late_slots.missed, lasts=False),
        Watched(Condition.NOT_STARTED, late_slots.not_started, lasts=False),
        Watched(Condition.RUNNING_LONG, durations.running_long),
        Watched(Condition.SCHEDULER_BEHIND, behind.find),
        Watched(Condition.TOO_FEW_WORKERS, too_few.find),
        Watched(Condition.NO_SUCCESS, silence.no_success, every=SLOW, lasts=False),
        Watched(Condition.TOO_FAST, durations.too_fast, every=SLOW),
        Watched(Condition.OVER_INTERVAL, durations.over_interval, every=SLOWER),
        Watched(Condition.INVARIANT, invariants.find, every=SLOWER),
    )


@dataclass(slots=True)
class ConditionScan:
    """The scans of one worker; it knows when each condition was last looked at."""

    watched: Sequence[Watched] = field(default_factory=watched_conditions)
    _last: dict[str, datetime] = field(default_factory=dict)
    _open_alerts: OpenAlerts = field(default_factory=OpenAlerts)
    #: Whether the notifiers and rules of this process have told of all that was open before.
    _has_told: bool = False

    def run(self, now: datetime, *, using: str = "") -> None:
        """Look once. What goes wrong is logged and stops nothing else; an outage propagates."""
        using = using or write_alias()
        lasting = [each.condition for each in self.watched if each.lasts]
        # First: what another scan raises from now on is not taken for what is not found.
        open_alerts = self._open_alerts.read(lasting, using=using)
        found = {
            each: self.find(each, now, using=using)
            for each in self.watched
            if self.is_due(each, now)
        }
        for each, findings in found.items():
            if findings is not None:
                raise_and_clear(each, findings, open_alerts, now, using=using)
            # Not before: after an outage, the next scan looks at it again.
            self._last[each.condition] = now
        with logged("what is over cannot be found"):
            clear_others(open_alerts, now, using=using)
        if not self._has_told:
            with logged("what is open cannot be told to new notifiers"):
                tell_untold(now, using=using)
            self._has_told = True
        with logged("reminders that are due cannot be found"):
            remind(open_alerts, now, using=using)

    def forget(self) -> None:
        """Forget what earlier scans have found: this one does not follow them without a gap."""
        self.watched, self._last = watched_conditions(), {}
        self._has_told = False

    def is_due(self, watched: Watched, now: datetime) -> bool:
        last = self._last.get(watched.condition)
        # True as well when the clock was set back.
        return last is None or not last <= now < last + timedelta(seconds=watched.every)

    def find(self, watched: Watched, now: datetime, *, using: str) -> list[Finding] | None:
        """Return what is found now, None if that fails, or if nobody can tell yet."""
        found: list[Finding] | None = None
        with logged(f"the condition {watched.condition} cannot be looked at"):
            if (findings := watched.find(now, using=using)) is not None:
                found = list(findings)
        return found


@contextmanager
def logged(what: str) -> Iterator[None]:
    """Log what goes wrong in the block, and go on after it. Raise what is due to an outage."""
    try:
        yield
    except AWAY as error:
        # A conflict that each try has met is about these rows, and the database is there.
        if not (isinstance(error, DatabaseError) and is_conflict(error)):
            raise
        logger.warning("%s now: %s", what, error)
    except Exception:
        logger.exception(what)


def write_in_batches(
    rows: Sequence[Row],
    write: Callable[[Sequence[Row]], None],
    *,
    otherwise: str,
    using: str,
) -> list[Row]:
    """Write rows, each batch in one transaction; return those of batches that were written.

    Log ``otherwise`` for a batch that fails.
    """
    written: list[Row] = []
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        with logged(otherwise):
            in_transaction(partial(write, batch), using=using)
            written += batch
    return written


def raise_and_clear(
    watched: Watched,
    found: Sequence[Finding],
    open_alerts: Sequence[Alert],
    now: datetime,
    *,
    using: str,
) -> None:
    """Raise alerts for what is found; clear those of a lasting condition that is not."""
    known = {alert.open_key: alert for alert in open_alerts if alert.condition == watched.condition}
    new = [each for each in found if each.key not in known or each.details]
    write = partial(raise_existing, now=now, using=using)
    write_in_batches(new, write, otherwise="alerts cannot be raised", using=using)
    if watched.lasts:
        still = {each.key for each in found}
        over = [alert for key, alert in known.items() if key not in still]
        clear(over, NO_LONGER_SO, now, using=using)


def raise_existing(found: Sequence[Finding], *, now: datetime, using: str) -> None:
    """Raise alerts within a transaction, but for tasks that were deleted since they were found."""
    # One that is deleted from now on breaks the foreign key, so this is tried again.
    ids = {each.task.pk for each in found if each.task}
    left = set(Task.objects.using(using).filter(AnyOf("id", ids)).values_list("pk", flat=True))
    existing = [each for each in found if each.task is None or each.task.pk in left]
    raise_alerts(existing, now, using=using)


def clear_others(open_alerts: Sequence[Alert], now: datetime, *, using: str) -> None:
    """Clear what a rule of its own clears."""
    left = [alert for alert in open_alerts if alert.open_key is not None]
    for because, alerts in reasons_to_clear(left, using=using).items():
        clear(alerts, because, now, using=using)


def clear(alerts: Sequence[Alert], because: str, now: datetime, *, using: str) -> None:
    write = partial(clear_still_open, because=because, now=now, using=using)
    for alert in write_in_batches(alerts, write, otherwise="alerts cannot be cleared", using=using):
        alert.open_key = None


def clear_still_open(alerts: Sequence[Alert], *, because: str, now: datetime, using: str) -> None:
    """Clear those that are still over."""
    clear_alerts(lock_what_is_over(alerts, because, using=using), because, now, using=using)


def tell_untold(now: datetime, *, using: str) -> None:
    """Tell of open alerts who was named after they were raised."""
    ids = list(Alert.objects.using(using).open().order_by("open_key").values_list("pk", flat=True))
    write = partial(send_to_untold, now=now, using=using)
    write_in_batches(ids, write, otherwise="new notifiers cannot be told", using=using)


def remind(open_alerts: Sequence[Alert], now: datetime, *, using: str) -> None:
    """Leave reminders of what is still open, for those who want them."""
    left = [alert for alert in open_alerts if alert.open_key is not None]
    due = due_reminders(left, now, using=using)
    write = partial(remind_once, now=now, using=using)
    write_in_batches(due, write, otherwise="reminders cannot be sent", using=using)


def remind_once(due: Sequence[Reminder], *, now: datetime, using: str) -> None:
    """Leave reminders within a transaction, unless another one has done so meanwhile."""
    is_open = Alert.objects.using(using).open()
    mine = [
        (alert, route)
        for alert, found in sorted(due, key=lambda each: str(each[0].open_key))
        # The row stays locked, so the alert that a message refers to cannot be deleted.
        if is_open.filter(pk=alert.pk, reminded_at=alert.reminded_at).update(reminded_at=now)
        for route in found
    ]
    send_reminders(mine, now, using=using)
