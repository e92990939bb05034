"""The admin: tasks, executions, changes, pauses and workers, under any AdminSite."""

from __future__ import annotations

from scheduled_tasks.admin.execution import ExecutionAdmin
from scheduled_tasks.admin.pause import PauseAdmin
from scheduled_tasks.admin.task import TaskAdmin
from scheduled_tasks.admin.task_change import TaskChangeAdmin
from scheduled_tasks.admin.worker import WorkerAdmin

__all__ = ["ExecutionAdmin", "PauseAdmin", "TaskAdmin", "TaskChangeAdmin", "WorkerAdmin"]
