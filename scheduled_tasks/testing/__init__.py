"""Tools for tests of your own tasks: run a handler or a task, move the clock, check slots.

In: names of tasks and handlers, and moments as datetimes or text. Out: executions, slots, or an
``AssertionError``. Everything runs in the calling thread, at once, and nothing waits for time to
pass. It works with any test runner.

- ``handlers``: run a handler without a database.
- ``tasks``: run a task of the database.
- ``clock``: let a worker run everything that is due until a moment.
- ``slots``: the next slots of a task.

docs/testing-tasks.md has examples. Read first: ``handlers.py``.
"""

from __future__ import annotations

from scheduled_tasks.testing.clock import TaskClock
from scheduled_tasks.testing.handlers import HandlerRun, run_handler
from scheduled_tasks.testing.slots import assert_not_scheduled, assert_scheduled, upcoming
from scheduled_tasks.testing.tasks import run_task

__all__ = [
    "HandlerRun",
    "TaskClock",
    "assert_not_scheduled",
    "assert_scheduled",
    "run_handler",
    "run_task",
    "upcoming",
]
