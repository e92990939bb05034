"""A small world in which every operation of the engine has something to do.

Two tasks, one that may not overlap and one that may; each with slots that have come, executions
that wait, one that failed and one that runs on a worker that is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection

from scheduled_tasks.models import Attempt, Execution, Task, TaskState, Worker
from scheduled_tasks.models.attempt import AttemptOutcome
from scheduled_tasks.runtime.runs import Outcome

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
#: The slots that have come: a misfire, one that is late, and one of this moment.
DUE = [NOW - 2 * MINUTE, NOW - MINUTE, NOW]
HANDLER = "jobs.answer"
#: The queue of what was asked for by hand, as after an edit of the task's queue.
BY_HAND = "by-hand"
#: How failures are settled without another run.
RESOLUTION = "It was mended by hand."
#: From the rows that refer to others to those that are referred to.
TABLES = (
    "delivery",
    "alert",
    "rollup",
    "attempt",
    "taskchange",
    "execution",
    "taskstate",
    "task",
    "worker",
)
Status, Trigger = Execution.Status, Execution.Trigger


@dataclass
class World:
    """The rows that operations are made on, and what is known of them at the start."""

    alone: Task
    beside: Task
    gone: Worker
    workers: list[Worker]
    rows: list[Execution]
    #: What operations did, by the order in which they came back: (execution, attempt) each.
    claims: list[tuple[int, int]] = field(default_factory=list)
    requeued: list[Execution] = field(default_factory=list)
    resolved: list[int] = field(default_factory=list)

    def ids(self, *statuses: str, task: Task | None = None) -> list[int]:
        """Return the executions that the world began with, by what they were then."""
        return [row.pk for row in self.rows if row.status in statuses and task in (None, row.task)]


def make_world(busy: bool = False, policy: str = "skip") -> World:  # noqa: FBT001, FBT002
    """Take away all rows and make new ones; ``busy``: the task that may not overlap runs."""
    clear()
    tasks = Task.objects.bulk_create([make_task("alone", policy), make_task("beside", "allow")])
    TaskState.objects.bulk_create(
        TaskState(task=task, next_run_at=DUE[0], execution_count=1, consecutive_failures=1)
        for task in tasks
    )
    gone, *workers = Worker.objects.bulk_create(
        Worker(label=label, host="h", pid=1, state=state)
        for label, state in zip("gabc", ["lost", *["running"] * 3], strict=True)
    )
    rows = [row for task in tasks for row in executions(task, gone, runs=busy or task is tasks[1])]
    Execution.objects.bulk_create(rows)
    Attempt.objects.bulk_create(
        Attempt(execution=row, number=1, outcome=AttemptOutcome.FAILED, finished_at=NOW)
        for row in rows
        if row.status == Status.QUEUED and row.attempt
    )
    return World(*tasks, gone, workers, rows)


def clear() -> None:
    """Take away all rows of the app, without a look at each."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DELETE FROM scheduled_tasks_{table}")


class KeptWorlds:
    """Worlds that are made once on a connection to PostgreSQL, and then copied: much faster."""

    def __init__(self) -> None:
        self.kept: dict[tuple[bool, str], World] = {}

    def make(self, busy: bool, policy: str) -> World:  # noqa: FBT001
        """Take away all rows and make those of a new world."""
        key = busy, policy
        copy = f"kept_{int(busy)}_{policy}_"
        if key not in self.kept:
            self.kept[key] = make_world(busy, policy)
            statements = [
                f"CREATE TEMPORARY TABLE {copy}{table} AS TABLE scheduled_tasks_{table}"
                for table in TABLES
            ]
        else:
            statements = [f"DELETE FROM scheduled_tasks_{table}" for table in TABLES]
            statements += [
                f"INSERT INTO scheduled_tasks_{table} SELECT * FROM {copy}{table}"
                for table in reversed(TABLES)
            ]
        with connection.cursor() as cursor:
            cursor.execute("; ".join(statements))
        return replace(self.kept[key], claims=[], requeued=[], resolved=[])

    def close(self) -> None:
        """Drop the copies."""
        with connection.cursor() as cursor:
            cursor.execute("DISCARD TEMPORARY")


def make_task(name: str, policy: str) -> Task:
    return Task(
        name=name,
        handler=HANDLER,
        schedule="every 1 minute",
        anchor=NOW - 60 * MINUTE,
        overlap_policy=policy,
        max_retries=1,
    )


def executions(task: Task, gone: Worker, *, runs: bool) -> list[Execution]:
    """Return what a task has at the start: waiting in three ways, failed and perhaps running."""

    def row(minutes: int, **fields: Any) -> Execution:
        slot = NOW - minutes * MINUTE
        given = Execution.for_task(task, trigger=Trigger.SCHEDULE, now=slot, slot=slot)
        for name, value in fields.items():
            setattr(given, name, value)
        return given

    ran = {"attempt": 1, "claimed_at": NOW - 9 * MINUTE, "started_at": NOW - 9 * MINUTE}
    failure = {"failures": 1, "error_category": "logic", "error": "it failed"}
    rows = [
        row(20, status=Status.FAILED, finished_at=NOW - 8 * MINUTE, **ran, **failure),
        row(6, **ran, **failure, run_after=NOW - 5 * MINUTE),
        row(5),
        row(4, slot=None, trigger=Trigger.MANUAL, queue=BY_HAND),
    ]
    if runs:
        held = {"worker": str(gone.pk), "worker_label": gone.label, "status": Status.RUNNING}
        exclusive = None if task.overlap_policy == "allow" else task.pk
        rows.append(row(7, **ran, **held, exclusive=exclusive))
    return rows


def outcome(execution: int, attempt: int, *, failed: bool) -> Outcome:
    """Return how an attempt of the gone worker ended after all."""
    return Outcome(
        execution_id=execution,
        attempt=attempt,
        status=Status.FAILED if failed else Status.SUCCESS,
        started_at=NOW - 9 * MINUTE,
        finished_at=NOW - SECOND,
        duration_ms=539_000,
        retryable=True,
        error="it failed" if failed else "",
        error_category="logic" if failed else "",
    )
