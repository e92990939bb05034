"""The admin: tasks, executions and workers, under any AdminSite."""

from __future__ import annotations

from scheduled_tasks.admin.execution import ExecutionAdmin
from scheduled_tasks.admin.task import TaskAdmin
from scheduled_tasks.admin.worker import WorkerAdmin

__all__ = ["ExecutionAdmin", "TaskAdmin", "WorkerAdmin"]
