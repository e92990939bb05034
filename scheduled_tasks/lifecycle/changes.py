"""Record who changed a task, when, and from what to what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import BY_ENGINE, MAX_NAME_LENGTH, TaskChange
from scheduled_tasks.runtime.redaction import mask_secrets_in_json
from scheduled_tasks.runtime.sanitizing import json_compatible, redacted_text


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
    row = change_row(task, action, now, fields=fields or {}, by=by, reason=reason)
    record_changes([row], using=using)


def record_changes(rows: Iterable[TaskChange], *, using: str) -> None:
    TaskChange.objects.using(using).bulk_create(rows)


def change_row(
    task: Task,
    action: str,
    now: datetime,
    *,
    fields: Mapping[str, tuple[Any, Any]],
    by: str,
    reason: str = "",
) -> TaskChange:
    return TaskChange(
        task_id=task.pk,
        task_name=task.name,
        action=action,
        changed_at=now,
        changed_by=by[:MAX_NAME_LENGTH],
        # Unlike the task itself, nothing needs the secrets that a change replaces.
        fields=mask_secrets_in_json(
            {name: json_compatible(values) for name, values in fields.items()}
        ),
        reason=redacted_text(reason),
    )
