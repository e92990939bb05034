"""The admin: tasks, executions, dead letters, changes, pauses and workers, under any AdminSite."""

from __future__ import annotations

from scheduled_tasks.admin.dead_letters.admin import DeadLetterAdmin
from scheduled_tasks.admin.executions.admin import ExecutionAdmin
from scheduled_tasks.admin.tasks.admin import TaskAdmin
from scheduled_tasks.admin.tasks.change_page import TaskChangeAdmin
from scheduled_tasks.admin.workers.admin import WorkerAdmin
from scheduled_tasks.admin.workers.pause import PauseAdmin

__all__ = [
    "DeadLetterAdmin",
    "ExecutionAdmin",
    "PauseAdmin",
    "TaskAdmin",
    "TaskChangeAdmin",
    "WorkerAdmin",
]
