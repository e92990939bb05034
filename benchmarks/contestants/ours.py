"""scheduled-tasks: real ``manage.py runscheduler`` processes with the default settings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.contestants.base import Contestant, as_datetime, empty_app, manage
from scheduled_tasks import run_task_now
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, Task, TaskState

HANDLER = "benchmarks.mark"
#: What is asked for by hand is spread over so many tasks.
ASKED_TASKS = 1_000
ROWS_AT_ONCE = 2_000
DAY = 86_400


class Ours(Contestant):
    """Workers with one executor. ``concurrency`` is the setting's default unless it is given."""

    def __init__(self, executor: str, *, concurrency: int | None = None) -> None:
        self.concurrency = concurrency or app_settings.CONCURRENCY
        kind = {"thread": "threads", "process": "processes"}[executor]
        super().__init__(
            name="scheduled-tasks",
            runs_in=f"{self.concurrency} {kind}",
            environment={"BENCHMARK_EXECUTOR": executor},
        )

    def empty(self) -> None:
        """Remove all rows of the app."""
        empty_app("scheduled_tasks")

    def queue(self, count: int) -> None:
        """Queue executions as ``run_task_now`` does, of tasks that may overlap."""
        now = time.time()
        tasks = store_tasks([(None, now)] * min(count, ASKED_TASKS), overlap_policy="allow")
        rows = (
            Execution.for_task(
                tasks[number % len(tasks)],
                trigger=Execution.Trigger.MANUAL,
                now=as_datetime(now),
            )
            for number in range(count)
        )
        Execution.objects.bulk_create(rows, batch_size=ROWS_AT_ONCE)

    def schedule(self, moments: Sequence[float]) -> None:
        """Store daily tasks, with the default policies, whose next slots are the moments."""
        self.store(DAY, moments)

    def store(self, every: int, moments: Sequence[float]) -> None:
        """Store tasks with so many seconds between their slots, by their next slots."""
        store_tasks((every, moment) for moment in moments)

    def run_now(self) -> None:
        """Run a task that ``queue`` has stored."""
        run_task_now("task-0", {"due": time.time()})

    def command(self) -> list[str]:
        """Return the real command."""
        concurrency = f"--concurrency={self.concurrency}"
        return manage("runscheduler", "--no-sync", "--verbosity=0", concurrency)


def store_tasks(slots: Iterable[tuple[int | None, float]], **policies: Any) -> list[Task]:
    """Store tasks, each with the seconds between its slots, None for none, and the next one."""
    slots = list(slots)
    first = Task.objects.count()
    tasks = Task.objects.bulk_create(
        (
            Task(
                name=f"task-{number}",
                handler=HANDLER,
                schedule=f"every {every} seconds" if every else "",
                anchor=as_datetime(moment),
                payload={"due": moment},
                **policies,
            )
            for number, (every, moment) in enumerate(slots, first)
        ),
        batch_size=ROWS_AT_ONCE,
    )
    TaskState.objects.bulk_create(
        (
            TaskState(task=task, next_run_at=task.anchor if every else None)
            for task, (every, _) in zip(tasks, slots, strict=True)
        ),
        batch_size=ROWS_AT_ONCE,
    )
    return tasks
