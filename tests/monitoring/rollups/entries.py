"""Entries of rollups, as transactions append them."""

from __future__ import annotations

from datetime import datetime

from scheduled_tasks.monitoring.rollups.recording import Fact, TaskFact, hour_of, record


def append(now: datetime, *, task_id: int = 1, times: int = 1, status: str = "success") -> None:
    """Append entries of one fact each."""
    for _ in range(times):
        fact = Fact(hour_of(now), status, duration_ms=1_000, lateness_ms=10)
        record([TaskFact(task_id, "a", fact)], using="default")
