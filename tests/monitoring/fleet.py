"""Rows of workers, as a test says that they are."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from scheduled_tasks.models import Worker
from tests.support.attempts import NOTHING

DAY, HOUR, MINUTE, SECOND = (
    timedelta(**{unit: 1}) for unit in ("days", "hours", "minutes", "seconds")
)


def make_scheduler(
    now: datetime,
    *,
    up: timedelta = DAY,
    silent: timedelta = SECOND,
    label: str = "blue",
    **fields: Any,
) -> Worker:
    """Make the row of a scheduler: how long it has been up, and for how long silent."""
    return Worker.objects.create(
        **{
            "label": label,
            "host": "h",
            "pid": 1,
            "started_at": now - up,
            "heartbeat_at": now - silent,
            "handlers": [NOTHING],
            "declaration_digest": "d" * 32,
            **fields,
        }
    )
