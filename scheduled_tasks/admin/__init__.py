"""The admin: tasks, executions, dead letters, changes, pauses and workers, under any AdminSite."""

from __future__ import annotations

from scheduled_tasks.admin.dead_letters import DeadLetterAdmin
from scheduled_tasks.admin.execution import ExecutionAdmin
from scheduled_tasks.admin.pause import PauseAdmin
from scheduled_tasks.admin.task import TaskAdmin
from scheduled_tasks.admin.task_change import TaskChangeAdmin
from scheduled_tasks.admin.worker import WorkerAdmin

__all__ = [
    "DeadLetterAdmin",
    "ExecutionAdmin",
    "PauseAdmin",
    "TaskAdmin",
    "TaskChangeAdmin",
    "WorkerAdmin",
]
