"""What tests of your own tasks need: run one, move the clock, ask what is scheduled.

docs/testing-tasks.md has examples. Nothing here knows pytest, and nothing waits for time to pass.
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
