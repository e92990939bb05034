"""Alerts are raised once and cleared once, whatever the number of workers.

Both happen in the transaction of what they report, and leave in the outbox what has to be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Any

from django.db import transaction

from scheduled_tasks.models.alert import MAX_SUBJECT_LENGTH, Alert
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.transactions import AWAY, LostRaceError
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.condition_settings import severity_of
from scheduled_tasks.monitoring.alerts.routing import is_on
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

    What has an open alert raises no second one: only its details are brought up to date. Whatever
    goes wrong is logged: what the transaction is for must not fail for an alert.
    """
    found = list(findings)
    if not found:
        return
    try:
        with transaction.atomic(using=using):
            raise_on(found, now, using=using)
    except AWAY:
        raise
    except Exception:
        logger.exception("alerts could not be raised: %s", [each.condition for each in found])


def raise_on(findings: Sequence[Finding], now: datetime, *, using: str) -> None:
    wanted = {found.key: found for found in findings if is_on(found.condition, found.task)}
    if wanted:
        refresh(wanted, using=using)
    if not wanted:
        return
    # In one order everywhere: transactions that raise the same alerts wait for each other.
    rows = [alert_of(wanted[key], now) for key in sorted(wanted)]
    alerts = Alert.objects.using(using)
    alerts.bulk_create(rows, ignore_conflicts=True)
    made = set(alerts.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
    raised = [row for row in rows if row.pk in made]
    send_raised(raised, now, using=using)
    log_after_commit("raised", raised, using=using)


def refresh(wanted: dict[str, Finding], *, using: str) -> None:
    """Remove what has an open alert already, and bring the details of these up to date."""
    alerts = Alert.objects.using(using)
    known = alerts.filter(open_key__in=list(wanted)).order_by("open_key")
    for key, before in known.values_list("open_key", "details"):
        details = dict(wanted.pop(key or "").details)
        if details and details != before:
            alerts.filter(open_key=key).update(details=details)


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


def open_alerts_of(task_ids: Collection[int | None], *conditions: str, using: str) -> list[Alert]:
    """Return the open alerts of these conditions and tasks."""
    found = Alert.objects.using(using).open().select_related("task")
    return list(
        found.filter(task__in=list(task_ids), condition__in=conditions).order_by("open_key")
    )


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
