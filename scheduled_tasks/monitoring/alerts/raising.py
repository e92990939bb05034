"""Alerts are raised once and cleared once, whatever the number of workers.

Both happen in the transaction of what they report, and leave in the outbox what has to be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from django.db import transaction

from scheduled_tasks.models.alert import MAX_SUBJECT_LENGTH, Alert
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.transactions import LostRaceError
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.condition_settings import severity_of
from scheduled_tasks.monitoring.alerts.routing import is_disabled, is_on
from scheduled_tasks.monitoring.outbox.messages import send_cleared, send_raised
from scheduled_tasks.runtime.conditions import Condition, Severity
from scheduled_tasks.runtime.sanitizing import redacted_text

logger = logging.getLogger(__name__)

LEVELS = {
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
    Severity.CRITICAL: logging.CRITICAL,
}
#: In characters; an error may be a page long.
MAX_MESSAGE_LENGTH = 2_000
#: Values in a list of details, the newest.
MAX_LISTED = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A condition that holds, of a task or of a ``subject``: a worker, a service, an invariant.

    ``details`` are what clearing it needs to know, as JSON.
    """

    condition: str
    message: str
    task: Task | None = None
    subject: str = ""
    execution_id: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lasts(self) -> bool:
        """Whether its alert stays open: a success is told of, and over."""
        return self.condition != Condition.SUCCESS

    @property
    def key(self) -> str:
        """The unique key of the alert that it raises, while that is open."""
        subject = self.subject if self.lasts else str(self.execution_id)
        return open_key(self.condition, self.task.pk if self.task else None, subject)


def open_key(condition: str, task_id: int | None, subject: str) -> str:
    """Return the key that latches an alert of this condition, task and subject."""
    return sha256(f"{condition}\n{task_id or ''}\n{subject}".encode()).hexdigest()


def raise_alerts(findings: Iterable[Finding], now: datetime, *, using: str) -> None:
    """Raise an alert for each finding whose condition is on, within a transaction.

    What has an open alert raises no second one: only its details are brought up to date. For a
    disabled task nothing is raised that its being disabled would clear.
    """
    wanted = joined(
        found
        for found in findings
        if is_on(found.condition, found.task) and not is_disabled(found.condition, found.task)
    )
    if wanted:
        refresh(wanted, using=using)
    if not wanted:
        return
    # In one order everywhere: transactions that raise the same alerts wait for each other.
    rows = [alert_of(wanted[key], now) for key in sorted(wanted)]
    alerts = Alert.objects.using(using)
    alerts.bulk_create(rows, ignore_conflicts=True)
    made = alerts.filter(AnyOf("pk", [row.pk for row in rows])).values_list("pk", flat=True)
    ids = set(made)
    raised = [row for row in rows if row.pk in ids]
    send_raised(raised, now, using=using)
    log_after_commit("raised", raised, using=using)


def joined(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Return the findings by key. Of several for one alert, the last says what is wrong."""
    wanted: dict[str, Finding] = {}
    for found in findings:
        earlier = wanted.get(found.key, found)
        wanted[found.key] = replace(found, details=merged(earlier.details, found.details))
    return wanted


def refresh(wanted: dict[str, Finding], *, using: str) -> None:
    """Remove what has an open alert already, and bring the details of these up to date."""
    alerts = Alert.objects.using(using)
    known = alerts.filter(AnyOf("open_key", list(wanted)))
    # Locked: none of them is cleared by a transaction that does not know this finding yet.
    rows = known.locked().order_by("open_key").values_list("open_key", "details")
    for key, before in rows:
        details = merged(before, wanted.pop(key or "").details)
        if details != before:
            alerts.filter(open_key=key).update(details=details)


def merged(before: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return details brought up to date: lists grow, other values are replaced."""
    details = {**before, **new}
    for name, value in new.items():
        if isinstance(value, list):
            both = dict.fromkeys([*before.get(name, ()), *value])
            details[name] = list(both)[-MAX_LISTED:]
    return details


def alert_of(found: Finding, now: datetime) -> Alert:
    return Alert(
        condition=found.condition,
        severity=severity_of(found.condition, found.task),
        task=found.task,
        task_name=found.task.name if found.task else "",
        subject=found.subject[:MAX_SUBJECT_LENGTH],
        open_key=found.key if found.lasts else None,
        execution_id=found.execution_id,
        message=redacted_text(found.message, limit=MAX_MESSAGE_LENGTH),
        details=dict(found.details),
        raised_at=now,
        cleared_at=None if found.lasts else now,
    )


def clear_alerts(alerts: Collection[Alert], because: str, now: datetime, *, using: str) -> None:
    """Clear open alerts, within a transaction.

    Raise LostRaceError, and so retry the transaction, if another one has cleared one of them.
    """
    if not alerts:
        return
    changes = [
        (
            {"open_key": None, "cleared_at": now, "cleared_because": because},
            {"id": alert.pk, "open_key": alert.open_key},
        )
        for alert in sorted(alerts, key=lambda alert: alert.open_key or "")
    ]
    if update_each(Alert, changes, using=using) != len(changes):
        raise LostRaceError("Another transaction cleared an alert meanwhile.")
    for alert in alerts:
        alert.open_key, alert.cleared_at, alert.cleared_because = None, now, because
    send_cleared(alerts, now, using=using)
    log_after_commit("cleared", list(alerts), using=using)


def open_alerts_of(task_ids: Collection[int], *conditions: str, using: str) -> list[Alert]:
    """Return the open alerts of these conditions and tasks."""
    found = Alert.objects.using(using).open().select_related("task")
    of_tasks = found.filter(AnyOf("task", list(task_ids)), condition__in=conditions)
    return list(of_tasks.order_by("open_key"))


def log_after_commit(what: str, alerts: Sequence[Alert], *, using: str) -> None:
    """Log alerts once they are committed."""
    if alerts:
        transaction.on_commit(partial(log_alerts, what, alerts), using=using, robust=True)


def log_alerts(what: str, alerts: Sequence[Alert]) -> None:
    for alert in alerts:
        logger.log(
            LEVELS[Severity(alert.severity)] if what == "raised" else logging.INFO,
            "alert %s condition=%s task=%s subject=%s severity=%s: %s",
            what,
            alert.condition,
            alert.task_name or None,
            alert.subject or None,
            alert.severity,
            alert.message if what == "raised" else alert.cleared_because,
        )
