"""Run a task of the database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduled_tasks.models import Execution
from scheduled_tasks.operations.tasks import find_task, prepare
from scheduled_tasks.testing.moments import Moment, moment_or_now
from scheduled_tasks.worker.run_here import run_here


def run_task(
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    test_mode: bool = False,
    now: Moment | None = None,
) -> Execution:
    """Run a task in this thread and return its execution as recorded.

    It does the same as ``manage.py runtask``. ``payload`` replaces the task's own. The name may be
    that of the handler. A task that is only declared in code is written into the database first. A
    failure is not retried. ``now`` is the time of the run. Raise UnknownTask, UnknownHandler,
    InvalidPayload or AlreadyRunning.
    """
    moment = moment_or_now(now)
    task = find_task(name)
    execution = prepare(task, payload, by="test", test_mode=test_mode, now=moment)
    return run_here(execution, now=moment)
