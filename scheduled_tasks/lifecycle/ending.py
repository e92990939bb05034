"""End: record how attempts ended, and whether another one follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import OuterRef, Subquery, prefetch_related_objects

from scheduled_tasks.lifecycle.recording import Claim, claim_of
from scheduled_tasks.lifecycle.results import count_results
from scheduled_tasks.lifecycle.suspecting import spread_suspicion, suspects_among
from scheduled_tasks.lifecycle.transitions import (
    ENDING_FIELDS,
    SUSPECT_FIELDS,
    apply_ending,
    write,
)
from scheduled_tasks.models.attempt import Attempt
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_queries import ExecutionQuerySet
from scheduled_tasks.models.sql.compiled import CompiledQuery
from scheduled_tasks.models.sql.transactions import transactional, waiting_once, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.heartbeats.recording import record_ends
from scheduled_tasks.runtime.runs import Ending, Loss

#: Read with an execution, so that most ends need not read the task. Not by a join: that would lock
#: the task as well, where a database cannot lock the rows of one table only.
TOLD = {
    name: Subquery(Task.objects.filter(pk=OuterRef("task")).values(name))
    for name in Execution.READ_OF_TASK_TO_END
}


def end(
    endings: Sequence[Ending], worker: Worker, now: datetime, *, skip: bool = False
) -> list[Execution]:
    """Write how attempts ended; return the rows that were written.

    A lost attempt, or a failed one that is retried, queues its execution again. An ending is left
    out if this worker does not hold the execution under the same attempt any more: another worker
    answers for it now. It is also left out if another transaction holds the row: at once with
    ``skip``, otherwise after waiting once.
    """
    if not endings:
        return []
    by_claim = {claim_of(ending): ending for ending in endings}
    using = write_alias()
    operation = partial(end_held, by_claim, worker, now, using=using)
    return waiting_once(operation, skip=skip, using=using)


def end_held(
    by_claim: Mapping[Claim, Ending], worker: Worker, now: datetime, *, skip: bool, using: str
) -> list[Execution]:
    ids = [execution_id for execution_id, _ in by_claim]
    states, rows = lock_held(skip=skip, using=using, workers=[str(worker.pk)], ids=ids)
    endings = {row: by_claim[claim] for row in rows if (claim := (row.pk, row.attempt)) in by_claim}
    return write_endings(endings, states, now, using=using)


@transactional
def give_back(
    workers: Collection[str], now: datetime, *, reason: str, charged: bool, using: str = ""
) -> list[Execution]:
    """Take back the executions of these workers, by each task's ``on_lost``; return them.

    Rows that another transaction holds are left for the next time.
    """
    states, rows = lock_held(skip=True, using=using, workers=list(workers))
    losses = {
        row: Loss(execution_id=row.pk, attempt=row.attempt, reason=reason, charged=charged)
        for row in rows
    }
    return write_endings(losses, states, now, using=using)


def lock_held(
    *, skip: bool, using: str, **held: list[Any]
) -> tuple[dict[int, TaskState], list[Execution]]:
    """Lock the states of the tasks of what is ``held``, and read its rows; return both.

    The rows need no lock: a transaction that moves an execution holds the state of its task, and
    the writes are guarded. With ``skip``, leave out the rows that other transactions hold, and the
    executions of tasks whose states they hold.
    """
    everything = Execution.objects.using(using)
    states = {state.pk: state for state in STATES_OF_HELD.rows(everything, skip=skip, **held)}
    rows = HELD_TO_END.rows(everything, skip=skip, **held)
    apart = {row.task_id for row in rows if row.task_id is not None}.difference(states)
    # A task that a bulk_create made has no state, which must not hold up its executions.
    if skip and apart:
        stateful = TaskState.objects.using(using).filter(pk__in=apart)
        theirs = set(stateful.values_list("pk", flat=True))
        rows = [row for row in rows if row.task_id not in theirs]
    return states, rows


def states_of_held(everything: ExecutionQuerySet, *, skip: bool, **held: Any) -> TaskStateQuerySet:
    """Return a query that locks the states of the tasks of what is held."""
    return everything.held(**held).states().locked(skip=skip)


def held_to_end(everything: ExecutionQuerySet, *, skip: bool, **held: Any) -> ExecutionQuerySet:
    """Return a query for the columns of what is held that an ending reads."""
    rows = everything.held(**held).only(*Execution.READ_TO_END).annotate(**TOLD)
    # These locks only find out which rows others hold: the UPDATE would wait for them.
    return rows.locked(skip=True) if skip else rows.order_by("pk")


def write_endings(
    endings: Mapping[Execution, Ending],
    states: Mapping[int, TaskState],
    now: datetime,
    *,
    using: str,
) -> list[Execution]:
    """Write endings, and what follows from them, within a transaction; return the rows in order.

    Raise LostRaceError, and so retry the transaction, if one of them is not held under the same
    attempt any more.
    """
    # Most runs succeed, and then the task is not read.
    prefetch_related_objects([row for row in endings if endings[row].may_be_retried], "task")
    fields = (*ENDING_FIELDS, *SUSPECT_FIELDS) if suspects_among(endings) else ENDING_FIELDS
    made = [apply_ending(row, ending, now) for row, ending in endings.items()]
    # The last status and the failures in a row follow from the order in which runs ended.
    rows = sorted(endings, key=lambda row: (row.finished_at or now, row.pk))
    write(rows, fields, before=Execution.Status.RUNNING, using=using)
    spread_suspicion(endings, states, using=using)
    attempts = [attempt for attempt in made if attempt is not None]
    Attempt.objects.using(using).bulk_create(attempts)
    ended = [row for row in rows if row.finished]
    count_results(ended, states, now, using=using)
    urls = {row.task_id: row.heartbeat_url for row in ended if row.task_id and row.heartbeat_url}
    record_ends(ended, urls, now, using=using)
    return rows


STATES_OF_HELD = CompiledQuery(states_of_held, "workers", "ids")
HELD_TO_END = CompiledQuery(held_to_end, "workers", "ids")
