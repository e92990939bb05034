"""Rows that are as old as a test wants them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from scheduled_tasks.models import Attempt, Execution, ExecutionLog, Task


def old_execution(
    task: Task, now: datetime, days: float, status: str = "success", **fields: Any
) -> Execution:
    """Store a finished execution of a slot this many days ago."""
    then = now - timedelta(days=days)
    row = Execution.for_task(task, trigger="schedule", now=then, slot=then)
    row.status, row.attempt, row.claimed_at, row.finished_at = status, 1, then, then
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    return row


def old_failure(task: Task, now: datetime, days: float, **fields: Any) -> Execution:
    """Store a failure of a slot this many days ago that was resolved then."""
    resolved = {"resolved_at": now - timedelta(days=days), "resolution": "Fixed."}
    return old_execution(task, now, days, "failed", **resolved | fields)


def add_attempts(execution: Execution, count: int) -> None:
    """Store attempts that failed before the last one."""
    moment = execution.created_at
    Attempt.objects.bulk_create(
        Attempt(execution=execution, number=number + 1, outcome="failed", finished_at=moment)
        for number in range(count)
    )
    Execution.objects.filter(pk=execution.pk).update(attempt=count + 1)


def add_lines(
    execution: Execution, count: int, logged_at: datetime | None = None, message: str = "line"
) -> None:
    """Store lines of its log, by default from when it was created."""
    ExecutionLog.objects.bulk_create(
        ExecutionLog(
            execution=execution,
            attempt=1,
            logged_at=logged_at or execution.created_at,
            level=logging.INFO,
            logger="scheduled_tasks.run",
            message=f"{message} {number}",
        )
        for number in range(count)
    )
    Execution.objects.filter(pk=execution.pk).update(log_count=count)
