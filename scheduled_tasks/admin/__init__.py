"""The admin: tasks, executions, dead letters, changes, pauses and workers, under any AdminSite."""

from __future__ import annotations

from scheduled_tasks.admin.changes.admin import TaskChangeAdmin
from scheduled_tasks.admin.dead_letters.admin import DeadLetterAdmin
from scheduled_tasks.admin.executions.admin import ExecutionAdmin
from scheduled_tasks.admin.pauses.admin import PauseAdmin
from scheduled_tasks.admin.tasks.admin import TaskAdmin
from scheduled_tasks.admin.workers.admin import WorkerAdmin

__all__ = [
    "DeadLetterAdmin",
    "ExecutionAdmin",
    "PauseAdmin",
    "TaskAdmin",
    "TaskChangeAdmin",
    "WorkerAdmin",
]
