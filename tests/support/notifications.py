"""Notifications to be sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from scheduled_tasks.monitoring.notifiers.notification import Notification

RAISED_AT = datetime(2030, 1, 15, 2, 0, 5, tzinfo=UTC)


def make_notification(**changes: Any) -> Notification:
    """Return a notification that ``nightly-report`` has failed."""
    values = {
        "id": "0b7e1c9e-58a6-4f0e-a6cd-3f1c9f0e7a11",
        "event": "raised",
        "condition": "failed",
        "severity": "error",
        "task": "nightly-report",
        "subject": "",
        "execution_id": 4711,
        "message": "ConnectionError: refused",
        "url": "https://shop.example/admin/scheduled_tasks/execution/4711/change/",
        "raised_at": RAISED_AT,
        "cleared_at": None,
    }
    return Notification(**(values | changes))
