"""What a test puts on the scene, and what is found there."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scheduled_tasks.models import Execution, Task
from scheduled_tasks.monitoring.health.invariants import scan_invariants

#: A handler that the workers of a test do not know.
NEW = "jobs.of_the_next_release"


def found(now: datetime) -> list[tuple[str, str]]:
    """Return the codes of what is found, each with its task."""
    return [(str(violation.code), violation.task_name) for violation in scan_invariants(now)]


def queue(task: Task, now: datetime, trigger: str = "manual", **fields: Any) -> Execution:
    row = Execution.for_task(task, trigger=trigger, now=now)
    for name, value in fields.items():
        setattr(row, name, value)
    row.save()
    return row
