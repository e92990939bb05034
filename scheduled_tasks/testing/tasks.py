"""Run a task of the database at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scheduled_tasks.models import Execution
from scheduled_tasks.operations.tasks import prepare
from scheduled_tasks.testing.moments import Moment, moment_or_now
from scheduled_tasks.worker.run_here import find_task, run_here


def run_task(
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    test_mode: bool = False,
    now: Moment | None = None,
) -> Execution:
    """Run a task here, in this thread, and return its execution as it is on record.

    All is as with ``manage.py runtask``: ``payload`` takes the place of the task's own, the name
    may be that of its handler, a task that is only in code is written into the database first, and
    a failure is not retried. ``now`` is the moment at which that happens. Raise UnknownTask,
    UnknownHandler, InvalidPayload, or AlreadyRunning.
    """
    moment = moment_or_now(now)
    task = find_task(name)
    execution = prepare(task, payload, triggered_by="test", test_mode=test_mode, now=moment)
    return run_here(execution, now=moment)
