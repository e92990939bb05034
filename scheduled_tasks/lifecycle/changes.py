"""Record who changed a task, when, and from what to what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import BY_ENGINE, MAX_NAME_LENGTH, TaskChange
from scheduled_tasks.runtime.sanitizing import json_compatible


def record_change(
    task: Task,
    action: str,
    now: datetime,
    *,
    using: str,
    fields: Mapping[str, tuple[Any, Any]] | None = None,
    by: str = BY_ENGINE,
    reason: str = "",
) -> None:
    """Record a change; ``fields`` holds the old and the new value of each."""
    TaskChange.objects.using(using).create(
        task_id=task.pk,
        task_name=task.name,
        action=action,
        changed_at=now,
        changed_by=by[:MAX_NAME_LENGTH],
        fields={name: json_compatible(values) for name, values in (fields or {}).items()},
        reason=reason,
    )
