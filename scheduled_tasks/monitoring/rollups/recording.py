"""What the transactions of the engine add to the rollups.

Each transaction that ends executions or covers slots appends one row of facts (``RollupEntry``);
``folding`` adds them to the rollups later. So the hot path costs one INSERT for any number
of executions, reads nothing, and waits for no other transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.rollup_entry import RollupEntry
from scheduled_tasks.runtime.statuses import SUCCEEDED, Status

SECONDS_PER_HOUR = 3_600
#: How often an execution was retried is told up to this number. More counts as this.
MAX_RETRIES_TOLD = 20
#: The statuses of runs whose duration counts: the others did not do their work.
TIMED = (*SUCCEEDED, Status.FAILED)


class Fact(NamedTuple):
    """What an execution, a first attempt or a covering row adds to one hour of a task.

    ``hour`` counts the hours since 1970. ``status`` is "" for a first attempt that is retried: then
    only ``lateness_ms`` is told. None stands for what was not measured.
    """

    hour: int
    status: str
    slots: int = 1
    retries: int = 0
    duration_ms: int | None = None
    lateness_ms: int | None = None
    processed: int = 0
    errors: int = 0


class TaskFact(NamedTuple):
    """A fact, and whose it is."""

    task_id: int
    task_name: str
    fact: Fact


def record(facts: Iterable[TaskFact], *, using: str) -> None:
    """Append facts, within the transaction that made them true."""
    by_task: dict[str, dict[str, Any]] = {}
    for task_id, name, fact in facts:
        of_task = by_task.setdefault(str(task_id), {"name": name, "facts": []})
        of_task["facts"].append(fact)
    if by_task:
        RollupEntry.objects.using(using).bulk_create([RollupEntry(facts=by_task)])


def ended(rows: Iterable[Execution], *, before: str) -> Iterable[TaskFact]:
    """Yield what executions tell that had the status ``before``, and have ended or are retried.

    Runs in test mode tell nothing, and neither do executions whose task was deleted.
    """
    ran = before == Status.RUNNING
    for row in rows:
        if row.task_id is None or row.test_mode:
            continue
        if row.finished:
            yield TaskFact(row.task_id, row.task_name, final_fact(row, ran=ran))
        elif ran and row.first_start is not None:
            hour = hour_of(row.first_start.ended_at)
            fact = Fact(hour, "", lateness_ms=row.first_start.lateness_ms)
            yield TaskFact(row.task_id, row.task_name, fact)


def final_fact(row: Execution, *, ran: bool) -> Fact:
    return Fact(
        hour=hour_of(row.finished_at or row.created_at),
        status=str(row.status),
        retries=min(max(row.attempt - 1, 0), MAX_RETRIES_TOLD),
        # What ends in the queue has not run, and its row may have been read without the column.
        duration_ms=row.duration_ms if ran and row.status in TIMED else None,
        lateness_ms=row.first_start.lateness_ms if row.first_start else None,
        processed=row.processed_count,
        errors=row.error_count,
    )


def covered(task_id: int, name: str, status: str, *, slots: int, at: datetime) -> TaskFact:
    """Return the fact that slots were covered."""
    return TaskFact(task_id, name, Fact(hour_of(at), str(status), slots))


def hour_of(moment: datetime) -> int:
    return int(moment.timestamp()) // SECONDS_PER_HOUR
