"""Tasks, executions, log lines and workers as JSON: the one form that commands and HTTP share.

- Keys are camelCase; policies have the camelCase names of their fields.
- Times are ISO 8601 in UTC with ``Z``. Microseconds have six digits, and are left out when zero.
- Ids are text, so that no client rounds them.
- Keys that end in ``Ms`` are in milliseconds. Other durations are in seconds, as in the admin.
- What a person sets is shown as stored, ``""`` included. What the engine reports is null where
  there is nothing to report.
- Secrets are masked in payloads, metadata and whatever runs have reported.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from scheduled_tasks.models import Execution, ExecutionLog, Task, TaskState, Worker
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.runtime.redaction import mask_secrets, mask_secrets_in_json

#: The fields of a task that people set and that are shown as they are.
TASK_FIELDS = (
    "name",
    "handler",
    "schedule",
    "timezone",
    "anchor",
    "enabled",
    "description",
    "category",
    "origin",
    *Policies.DECLARED_FIELDS,
    "paused_until",
    "pause_reason",
)
#: The loggers of what a run prints; their lines have no level of their own.
PRINTED = ("stdout", "stderr")
LEVELS = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
    (logging.INFO, "info"),
)


def task_record(task: Task) -> dict[str, Any]:
    """Return a task with its policies and its last and next run.

    It reads ``task.state``: select it with the task, as ``list_tasks`` does.
    """
    # A task that a bulk_create has made has no state until the next sync.
    state = getattr(task, "state", None) or TaskState()
    return {
        "id": str(task.pk),
        **{camel_case(name): shown(getattr(task, name)) for name in TASK_FIELDS},
        "payload": mask_secrets_in_json(task.payload),
        "metadata": mask_secrets_in_json(task.metadata),
        "nextRun": plain(state.next_run_at),
        "lastRun": plain(state.last_run_at),
        "lastStatus": state.last_status or None,
        "parkedReason": shown(state.parked_reason) or None,
        "createdAt": plain(task.created_at),
        "updatedAt": plain(task.updated_at),
    }


def execution_record(execution: Execution) -> dict[str, Any]:
    """Return an execution; ``attempts`` is the number of attempts that have begun."""
    return {
        "id": str(execution.pk),
        "taskId": None if execution.task_id is None else str(execution.task_id),
        "taskName": execution.task_name,
        "handler": execution.handler,
        "queue": execution.queue,
        "status": execution.status,
        "trigger": execution.trigger,
        "triggeredBy": execution.triggered_by or None,
        "testMode": execution.test_mode,
        "payload": mask_secrets_in_json(execution.payload),
        "scheduledFor": plain(execution.scheduled_for),
        "createdAt": plain(execution.created_at),
        "startedAt": plain(execution.started_at),
        "completedAt": plain(execution.finished_at),
        "durationMs": execution.duration_ms,
        "attempts": execution.attempt,
        "worker": execution.worker_label or None,
        "processed": execution.processed_count,
        "errors": execution.error_count,
        "progress": mask_secrets_in_json(execution.progress),
        "checkpoint": mask_secrets_in_json(execution.checkpoint),
        "result": mask_secrets_in_json(execution.result),
        "reason": mask_secrets(execution.reason) or None,
        "error": mask_secrets(execution.error) or None,
        "errorCategory": execution.error_category or None,
    }


def log_record(line: ExecutionLog) -> dict[str, Any]:
    """Return a line of the log of an execution; what a run printed has the level ``log``."""
    return {
        "id": str(line.pk),
        "executionId": str(line.execution_id),
        "attempt": line.attempt,
        "loggedAt": plain(line.logged_at),
        "level": "log" if line.logger in PRINTED else level_name(line.level),
        "logger": line.logger,
        "message": mask_secrets(line.message),
    }


def worker_record(worker: Worker) -> dict[str, Any]:
    """Return a worker, alive or gone."""
    return {
        "id": str(worker.pk),
        "label": worker.label,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "state": worker.state,
        "startedAt": plain(worker.started_at),
        "heartbeatAt": plain(worker.heartbeat_at),
        "concurrency": worker.concurrency,
        "queues": worker.queues,
        "handlers": worker.handlers,
    }


def plain(value: Any) -> Any:
    """Return a moment as text, anything else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value


def shown(value: Any) -> Any:
    """Return a field that people set: a moment as text, and a text without secrets."""
    return mask_secrets(value) if isinstance(value, str) else plain(value)


def camel_case(name: str) -> str:
    """Return the key of a field: ``max_retries`` is ``maxRetries``."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def level_name(level: int) -> str:
    """Return the name of the highest standard level that a number reaches."""
    return next((name for number, name in LEVELS if level >= number), "debug")
