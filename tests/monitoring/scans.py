"""A scan as a test makes it, and what it leaves."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scheduled_tasks.models import Alert, Delivery, Worker
from scheduled_tasks.monitoring.alerts.scan import ConditionScan


def scan(now: datetime) -> None:
    """Look at everything, also at what is looked at rarely, with a live worker."""
    Worker.objects.update(heartbeat_at=now, declaration_digest="tests")
    ConditionScan().run(now)


def is_open(condition: str) -> list[bool]:
    """Return whether each alert of a condition is open, in order."""
    rows = Alert.objects.filter(condition=condition).order_by("raised_at")
    return [row.open_key is not None for row in rows]


def sent(event: str, **of: Any) -> list[str]:
    rows = Delivery.objects.filter(event=event, **of).order_by("pk")
    return [row.target for row in rows]
