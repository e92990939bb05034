"""Scheduled tasks for Django: exactly one run per slot, however many replicas.

What works before apps are loaded is imported at once; what needs models, when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scheduled_tasks.context import TaskContext
from scheduled_tasks.exceptions import (
    LeaseLost,
    LockLost,
    LockTimeout,
    PermanentError,
    RetryLater,
    RunCancelled,
    RunInterrupted,
    Skip,
    TimeLimitExceeded,
)
from scheduled_tasks.partial import Partial
from scheduled_tasks.registry import declare, scheduled_task
from scheduled_tasks.retries import Retry
from scheduled_tasks.schedules import Cron, Interval, Once
from scheduled_tasks.version import __version__

if TYPE_CHECKING:
    from scheduled_tasks.locks import lock
    from scheduled_tasks.operations import (
        cancel_execution,
        dead_letters,
        disable_task,
        enable_task,
        get_task,
        list_handlers,
        list_tasks,
        recent_executions,
        register_task,
        requeue_execution,
        resolve_execution,
        run_task_now,
        task_history,
        unregister_task,
    )

__all__ = [
    "Cron",
    "Interval",
    "LeaseLost",
    "LockLost",
    "LockTimeout",
    "Once",
    "Partial",
    "PermanentError",
    "Retry",
    "RetryLater",
    "RunCancelled",
    "RunInterrupted",
    "Skip",
    "TaskContext",
    "TimeLimitExceeded",
    "__version__",
    "cancel_execution",
    "dead_letters",
    "declare",
    "disable_task",
    "enable_task",
    "get_task",
    "list_handlers",
    "list_tasks",
    "lock",
    "recent_executions",
    "register_task",
    "requeue_execution",
    "resolve_execution",
    "run_task_now",
    "scheduled_task",
    "task_history",
    "unregister_task",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        module = "locks" if name == "lock" else "operations"
        return getattr(import_module(f"scheduled_tasks.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
