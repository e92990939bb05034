"""The rows: tasks, executions, attempts, logs, workers, pauses, keys, locks, alerts, rollups."""

from __future__ import annotations

from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.attempt import Attempt
from scheduled_tasks.models.dead_letter import DeadLetter
from scheduled_tasks.models.delivery import Delivery
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_log import ExecutionLog
from scheduled_tasks.models.lock import Lock
from scheduled_tasks.models.maintenance_window import MaintenanceWindow
from scheduled_tasks.models.once_key import OnceKey
from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.rollup import Rollup
from scheduled_tasks.models.rollup_entry import RollupEntry
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import TaskChange
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.models.worker import Worker

__all__ = [
    "Alert",
    "Attempt",
    "DeadLetter",
    "Delivery",
    "Execution",
    "ExecutionLog",
    "Lock",
    "MaintenanceWindow",
    "OnceKey",
    "Pause",
    "Rollup",
    "RollupEntry",
    "Task",
    "TaskChange",
    "TaskState",
    "Worker",
]
