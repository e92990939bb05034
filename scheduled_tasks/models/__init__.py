"""The rows: tasks and their states, executions and their logs, workers."""

from __future__ import annotations

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.log import ExecutionLog
from scheduled_tasks.models.state import TaskState
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker

__all__ = ["Execution", "ExecutionLog", "Task", "TaskState", "Worker"]
