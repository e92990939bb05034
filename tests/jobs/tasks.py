"""Handlers for the tests that start real processes: one for each way a run can go."""

from __future__ import annotations

import os
import time
from pathlib import Path

from scheduled_tasks import TaskContext, scheduled_task


@scheduled_task
def mark(context: TaskContext) -> None:
    """Append the number of the execution to the file named by MARK_FILE, in one write."""
    line = f"{context.execution_id} {context.attempt}\n".encode()
    file = os.open(os.environ["MARK_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, line)
    finally:
        os.close(file)


@scheduled_task
def fail() -> None:
    """Raise."""
    raise RuntimeError("this handler always fails")


@scheduled_task
def hold(context: TaskContext) -> str:
    """Say that it has begun, then wait until the file named by RELEASE_FILE appears."""
    mark(context)
    while not Path(os.environ["RELEASE_FILE"]).exists():
        time.sleep(0.02)
    return "released"
