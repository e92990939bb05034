"""Scheduled tasks for Django: exactly one run per slot, however many replicas.

Importing the package imports nothing else, not even Django: each public name comes from its module
when it is first used. Handlers and declarations work before apps are loaded; what needs models
raises Django's ``AppRegistryNotReady`` until they are.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from scheduled_tasks.handlers.decorator import declare, scheduled_task
    from scheduled_tasks.handlers.retries import Retry
    from scheduled_tasks.operations.definitions import change_task, register_task, unregister_task
    from scheduled_tasks.operations.executions import (
        cancel_execution,
        dead_letters,
        recent_executions,
        requeue_execution,
        resolve_execution,
        task_history,
    )
    from scheduled_tasks.operations.locks import lock
    from scheduled_tasks.operations.tasks import (
        disable_task,
        enable_task,
        get_task,
        list_handlers,
        list_tasks,
        pause_task,
        resume_task,
        run_task_now,
    )
    from scheduled_tasks.runtime.context import TaskContext
    from scheduled_tasks.runtime.runs import Partial
    from scheduled_tasks.schedules import Cron, Interval, Once

    __version__: str

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
    "change_task",
    "dead_letters",
    "declare",
    "disable_task",
    "enable_task",
    "get_task",
    "list_handlers",
    "list_tasks",
    "lock",
    "pause_task",
    "recent_executions",
    "register_task",
    "requeue_execution",
    "resolve_execution",
    "resume_task",
    "run_task_now",
    "scheduled_task",
    "task_history",
    "unregister_task",
]

#: The module that each public name comes from.
MODULES = {
    "exceptions": (
        "LeaseLost",
        "LockLost",
        "LockTimeout",
        "PermanentError",
        "RetryLater",
        "RunCancelled",
        "RunInterrupted",
        "Skip",
        "TimeLimitExceeded",
    ),
    "handlers.decorator": ("declare", "scheduled_task"),
    "handlers.retries": ("Retry",),
    "operations.locks": ("lock",),
    "operations.definitions": ("change_task", "register_task", "unregister_task"),
    "operations.executions": (
        "cancel_execution",
        "dead_letters",
        "recent_executions",
        "requeue_execution",
        "resolve_execution",
        "task_history",
    ),
    "operations.tasks": (
        "disable_task",
        "enable_task",
        "get_task",
        "list_handlers",
        "list_tasks",
        "pause_task",
        "resume_task",
        "run_task_now",
    ),
    "runtime.context": ("TaskContext",),
    "runtime.runs": ("Partial",),
    "schedules": ("Cron", "Interval", "Once"),
}


def __getattr__(name: str) -> Any:
    # Kept, so that Python does not come here for it again.
    globals()[name] = value = load(name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("scheduled-tasks")
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(f"scheduled_tasks.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
