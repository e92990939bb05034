"""How long a run will still take, by how far it has come and how long others took."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from scheduled_tasks.models.execution import Execution

#: So many of the latest executions are looked at, and so many of them taken that succeeded.
LOOKED_AT, TAKEN = 200, 20


def remaining(execution: Execution, now: datetime) -> timedelta | None:
    """Return how long a running execution will still take, about; None where nothing tells.

    While it has not come far, the runs before it tell more; the further it has come, the more its
    own pace counts.
    """
    begun = execution.started_at or execution.claimed_at
    if execution.status != Execution.Status.RUNNING or begun is None:
        return None
    passed = max(now - begun, timedelta())
    typical, part = typical_duration(execution), part_done(execution.progress)
    own = by_pace(passed, part) if part else None
    if typical is None:
        return (1 - part) * own if own is not None and part is not None else None
    if part is None:
        return typical - passed if typical > passed else None
    whole = part * (typical if own is None else own) + (1 - part) * typical
    return (1 - part) * whole


def by_pace(passed: timedelta, part: float) -> timedelta | None:
    """Return how long all of it takes if part of it took so long; None for ever."""
    with suppress(OverflowError, ZeroDivisionError):
        return passed / part
    return None


def typical_duration(execution: Execution) -> timedelta | None:
    """Return how long the latest runs of its task took that succeeded: half of them longer."""
    if execution.task_id is None:
        return None
    latest = Execution.objects.filter(task=execution.task_id).order_by("-pk")
    rows = latest.values_list("status", "test_mode", "duration_ms")[:LOOKED_AT]
    took = [
        duration
        for status, test_mode, duration in rows
        if status in Execution.SUCCEEDED and not test_mode and duration is not None
    ]
    return timedelta(milliseconds=median(took[:TAKEN])) if took else None


def part_done(progress: Any) -> float | None:
    """Return how much of a run is done, from 0 to 1; None where that is not known."""
    match progress:
        case {"done": int() | float() as done, "total": int() | float() as total} if total > 0:
            return min(max(done / total, 0.0), 1.0)
    return None
