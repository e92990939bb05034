"""Runs of handlers of tests.jobs by real workers: asked for, waited for, looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.tasks import run_task_now
from tests.support.processes import LONG, alive, wait_until, written


def queue_a_run(
    handler: str, payload: dict[str, Any] | None = None, *, name: str = "", **fields: Any
) -> Execution:
    """Make a task, named like its handler unless ``name`` says otherwise, and ask for a run."""
    return run_task_now(make_task_of(handler, payload, name=name, **fields).name)


def make_task_of(
    handler: str, payload: dict[str, Any] | None = None, *, name: str = "", **fields: Any
) -> Task:
    """Make a task, named like its handler unless ``name`` says otherwise."""
    task = Task(name=name or handler, handler=f"jobs.{handler}", payload=payload or {}, **fields)
    task.save()
    return task


def fresh(execution: Execution) -> Execution:
    """Return it as it is on record now."""
    execution.refresh_from_db()
    return execution


def wait_for(execution: Execution, status: str) -> None:
    """Wait until it has a status."""
    wait_until(lambda: fresh(execution).status == status, within=LONG)


def wait_for_lines(path: str | Path, number: int) -> None:
    """Wait until handlers have written so many lines into a file."""
    wait_until(lambda: len(written(Path(path))) >= number, within=LONG)


def wait_until_dead(pids: Path) -> None:
    """Wait until none of the processes is left whose numbers handlers have written into a file."""
    wait_until(lambda: not any(map(alive, map(int, written(pids)))), within=LONG)
