"""The remaining time of a run, estimated from its progress and from earlier runs."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.runtime.statuses import SUCCEEDED

#: Of the latest executions, this many are examined, and at most this many successful ones counted.
MAX_EXAMINED, MAX_SAMPLES = 200, 20


def remaining(execution: Execution, now: datetime) -> timedelta | None:
    """Estimate the remaining time of a running execution; None if there is nothing to go by.

    The estimate weighs the typical duration of the task against the pace of this run. The further
    the run has come, the more its own pace counts.
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
    """Return the total duration, given the time for a part; None if it is infinite."""
    with suppress(OverflowError, ZeroDivisionError):
        return passed / part
    return None


def typical_duration(execution: Execution) -> timedelta | None:
    """Return the median duration of the latest successful runs of its task."""
    if execution.task_id is None:
        return None
    # Statuses are compared in Python: a condition might make the database read the whole history.
    latest = Execution.objects.filter(task=execution.task_id).order_by("-pk")
    rows = latest.values_list("status", "test_mode", "duration_ms")[:MAX_EXAMINED]
    took = [
        duration
        for status, test_mode, duration in rows
        if status in SUCCEEDED and not test_mode and duration is not None
    ]
    return timedelta(milliseconds=median(took[:MAX_SAMPLES])) if took else None


def part_done(progress: Any) -> float | None:
    """Return the part of a run that is done, from 0 to 1; None if unknown."""
    match progress:
        case {"done": int() | float() as done, "total": int() | float() as total} if total > 0:
            return min(max(done / total, 0.0), 1.0)
    return None
