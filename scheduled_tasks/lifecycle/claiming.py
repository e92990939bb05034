"""Claim: a worker takes queued executions, one attempt at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models

from scheduled_tasks.lifecycle.stopping import end_queued
from scheduled_tasks.lifecycle.suspecting import (
    Suspects,
    has_suspect_alone,
    run_together,
    was_lost_again,
    without_suspects,
)
from scheduled_tasks.lifecycle.transitions import (
    CLAIMED_MEANWHILE,
    apply_claim,
    claimed_values,
    end_unrun,
    over_before_start,
)
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_queries import ExecutionQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.compiled import CompiledQuery
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional, write_alias
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.heartbeats.recording import record_starts

#: The number of due executions that a claim reads first, or one for each that it may claim. Each
#: further pass reads twice as many, up to MAX_READ. Executions after that wait for the next claim.
MIN_READ, MAX_READ = 20, 1_000
MAX_PASSES = 10


@dataclass(frozen=True, slots=True)
class Claimed:
    """What was claimed, and which suspects were not.

    ``awaited`` is a suspect for which the worker has to become empty: nothing after it was claimed.
    ``left`` says that suspects are due that were not claimed for an empty worker.
    """

    rows: list[Execution]
    awaited: Execution | None = None
    left: bool = False


@dataclass(slots=True)
class Choice:
    """Which of some queued executions end without running, and which are claimed.

    ``suspect`` comes next, but is not claimed together with what is no suspect.
    """

    over: list[Execution]
    chosen: list[Execution]
    suspect: Execution | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction of a claim claimed, read, and moved: claimed or ended.

    ``leaves`` says that it passed suspects over.
    """

    claimed: Claimed
    read: int
    moved: int
    leaves: bool


def claim(
    worker: Worker,
    now: datetime,
    *,
    limit: int,
    handlers: Collection[str],
    queues: Collection[str] = (),
    suspects: Suspects = Suspects.ALONE,
    together: int = 1,
) -> Claimed:
    """Claim up to ``limit`` executions for a worker: highest priority first, then the oldest.

    A task that may not overlap gets at most one, and none while another of its executions runs.
    Executions that other transactions hold, and tasks whose states they hold, are skipped. What may
    not run any more is ended instead. Two workers never get the same attempt, even where rows
    cannot be locked. Committed before any handler runs.

    If the turn of suspects has come, up to ``together`` of them are claimed, and nothing else.
    """
    using = write_alias()
    serves = {"handlers": list(handlers), "queues": tuple(queues)}
    claimed: list[Execution] = []
    left, leaves = False, suspects is Suspects.LEAVE
    for number in range(MAX_PASSES):
        # Hundreds of slots that are too late to run may stand in front of one that is not.
        to_read = max(limit, min(MIN_READ * 2**number, MAX_READ))
        # ``choose`` leaves out what is held back. Leaving it out in the query costs more than all
        # the rest, so only a second pass does.
        due = {"now": now, **serves, "at_most": to_read, "without_held_back": number > 0}
        due["without_suspects"] = number > 0 and leaves
        # Suspects are claimed for an empty worker, so not after anything else.
        mode = Suspects.AWAIT if claimed and suspects is not Suspects.LEAVE else suspects
        room = limit - len(claimed)
        at_most = {"limit": room, "together": min(room, together)}
        done = claim_first_due(due, worker, suspects=mode, **at_most, using=using)
        claimed += done.claimed.rows
        left, leaves = left or done.claimed.left, leaves or done.leaves
        if done.claimed.awaited or any(row.is_suspect for row in claimed):
            return Claimed(claimed, done.claimed.awaited, left)
        # If a later pass moves nothing, other transactions hold the states of all that it has read.
        if done.read < to_read or len(claimed) == limit or (number and not done.moved):
            break
    # Suspects that come late in the order were not read.
    left = left or (leaves and number > 0 and suspects_wait(now, **serves, using=using))
    return Claimed(claimed, left=left)


@transactional
def claim_first_due(
    due: Mapping[str, Any],
    worker: Worker,
    *,
    limit: int,
    suspects: Suspects,
    together: int,
    using: str,
) -> Batch:
    rows = FIRST_DUE.rows(Execution.objects.using(using), **due)
    there = any(row.is_suspect for row in rows)
    leaves = there and (suspects is Suspects.LEAVE or has_suspect_alone(worker.host, using=using))
    free = without_suspects(rows) if leaves else rows
    choice = choose(free, due["now"], limit=limit, using=using, up_to_suspect=True)
    moved = len(end_over(choice.over, due["now"], using=using))
    chosen, awaited, alone_on = choice.chosen, None, ""
    if choice.suspect is not None:
        group = choose_suspects(due, at_most=together, using=using) or [choice.suspect]
        if chosen or suspects is Suspects.AWAIT:
            awaited = group[0]
        else:
            chosen = group
            alone = suspects is Suspects.ALONE and was_lost_again(group[0])
            alone_on = worker.host if alone else ""
    hand_over(chosen, worker, due["now"], alone_on=alone_on, using=using)
    left = there and not (suspects is Suspects.ALONE and any(row.is_suspect for row in chosen))
    return Batch(Claimed(chosen, awaited, left), len(rows), moved + len(chosen), leaves)


def choose_suspects(due: Mapping[str, Any], *, at_most: int, using: str) -> list[Execution]:
    """Choose the suspects that run next: one, or several that were lost once.

    What was lost least comes first, so that the innocent do not wait for what ended a worker alone.
    """
    serves = {name: due[name] for name in ("now", "handlers", "queues")}
    for number in range(MAX_PASSES):
        to_read = min(MIN_READ * 2**number, MAX_READ)
        rows = SUSPECTS_DUE.rows(Execution.objects.using(using), **serves, at_most=to_read)
        choice = choose(rows, due["now"], limit=at_most, using=using)
        end_over(choice.over, due["now"], using=using)
        if len(choice.chosen) == at_most or len(rows) < to_read or to_read == MAX_READ:
            break
    return run_together(choice.chosen)


def suspects_wait(
    now: datetime, *, handlers: Collection[str], queues: Collection[str], using: str
) -> bool:
    """Whether suspects are due, perhaps held back, that a worker may claim."""
    waiting = Execution.objects.using(using).waiting_for(handlers=handlers, queues=queues)
    return waiting.filter(run_after__lte=now, probation_seconds__isnull=False).exists()


def first_due(
    everything: ExecutionQuerySet,
    *,
    now: datetime,
    handlers: Collection[str],
    queues: Collection[str],
    at_most: int,
    without_held_back: bool,
    without_suspects: bool,
) -> ExecutionQuerySet:
    """Return a query that locks and reads the first executions that a worker may claim."""
    due = everything.waiting_for(handlers=handlers, queues=queues).filter(run_after__lte=now)
    due = due.not_held_back(now) if without_held_back else due.not_paused(now)
    due = due.filter(probation_seconds=None) if without_suspects else due
    return read_to_claim(due).order_by("-priority", "pk")[:at_most]


def suspects_due(
    everything: ExecutionQuerySet,
    *,
    now: datetime,
    handlers: Collection[str],
    queues: Collection[str],
    at_most: int,
) -> ExecutionQuerySet:
    """Return a query that locks and reads the suspects that a worker may claim."""
    due = everything.waiting_for(handlers=handlers, queues=queues).filter(run_after__lte=now)
    due = due.not_held_back(now).filter(probation_seconds__isnull=False)
    return read_to_claim(due).order_by("losses", "probation_seconds", "-priority", "pk")[:at_most]


def read_to_claim(due: ExecutionQuerySet) -> ExecutionQuerySet:
    # Only here are executions locked before states. That closes no circle of waiting transactions,
    # since what another transaction holds is skipped.
    return due.select_related("task").only(*Execution.READ_TO_CLAIM).locked(skip=True)


def choose(
    rows: Sequence[Execution],
    now: datetime,
    *,
    limit: int,
    using: str,
    up_to_suspect: bool = False,
) -> Choice:
    """Choose what is claimed of queued executions, perhaps only up to the first suspect."""
    alone = {row.task_id for row in rows if row.task_id is not None and not row.may_overlap}
    busy = lock_to_run_alone(alone, using=using)
    choice = Choice([], [])
    for row in rows:
        if len(choice.chosen) == limit:
            break
        # The query of a first pass leaves out global pauses only.
        if row.is_paused(now) or (not row.may_overlap and row.task_id in busy):
            continue
        if end := over_before_start(row, now):
            end_unrun(row, *end, now)
            choice.over.append(row)
            continue
        if up_to_suspect and row.is_suspect:
            choice.suspect = row
            break
        choice.chosen.append(row)
        if row.task_id is not None:
            busy.add(row.task_id)
    return choice


def lock_to_run_alone(task_ids: set[int], *, using: str) -> set[int]:
    """Lock the states of tasks that may not overlap; return the tasks that may not run now.

    Those are tasks with a running execution, or with a state that another transaction holds.
    """
    if not task_ids:
        return set()
    held = set(FREE_TO_LOCK.rows(TaskState.objects.using(using), tasks=list(task_ids)))
    # Asked under the locks: under READ COMMITTED it sees each claim that has released them. Under
    # REPEATABLE READ two claims may both see none, since a claim does not write the state; then the
    # unique ``exclusive`` decides.
    running = RUNNING_OF.rows(Execution.objects.using(using), tasks=list(held))
    return task_ids.difference(held).union(pk for pk in running if pk is not None)


def free_to_lock(
    everything: TaskStateQuerySet, *, tasks: Collection[int]
) -> models.QuerySet[TaskState, int]:
    """Return a query that locks the states of these tasks that are not held, and reads the ids."""
    free = everything.filter(AnyOf("pk", tasks)).locked(skip=True)
    return free.values_list("pk", flat=True)


def running_of(
    everything: ExecutionQuerySet, *, tasks: Collection[int]
) -> models.QuerySet[Execution, int | None]:
    """Return a query for those of these tasks that have a running execution."""
    running = everything.running().filter(AnyOf("task", tasks)).order_by()
    return running.values_list("task_id", flat=True)


def end_over(over: Sequence[Execution], now: datetime, *, using: str) -> list[Execution]:
    """End executions that may not run any more; return those whose state could be locked."""
    if not over:
        return []
    tasks = {row.task_id for row in over if row.task_id is not None}
    # The executions are locked by now, so to wait for a state could close a circle.
    states = TaskState.objects.using(using).lock_tasks(tasks, skip=True)
    ended = [row for row in over if row.task_id is None or row.task_id in states]
    end_queued(ended, states, now, using=using)
    return ended


def hand_over(
    rows: Sequence[Execution], worker: Worker, now: datetime, *, using: str, alone_on: str = ""
) -> None:
    """Give queued executions to a worker, in the database and in the given rows.

    ``alone_on`` is the host on which a suspect runs alone: no other one does at the same time.
    Raise LostRaceError, and so retry the transaction, if another worker was faster.
    """
    changes = []
    for row in sorted(rows, key=lambda row: row.pk):
        # With the attempt: the row may have been claimed and queued again since it was read.
        guard = {"id": row.pk, "attempt": row.attempt, "status": row.Status.QUEUED}
        apply_claim(row, worker, now)
        own: dict[str, Any] = {"attempt": row.attempt, "exclusive": row.exclusive}
        own["begin_awaited"] = row.begin_awaited
        if alone_on:
            own["alone_on"] = row.alone_on = alone_on
        changes.append((claimed_values(worker, now) | own, guard))
    try:
        claimed = update_each(Execution, changes, using=using)
    except IntegrityError as error:  # two of one task, or two suspects of one host, at once
        raise LostRaceError(CLAIMED_MEANWHILE) from error
    if claimed != len(changes):
        raise LostRaceError(CLAIMED_MEANWHILE)
    set_history(rows, using=using)
    first = [(row.pk, row.task) for row in rows if row.attempt == 1 and not row.test_mode]
    record_starts(first, now, using=using)


def set_history(rows: Sequence[Execution], *, using: str) -> None:
    """Set ``run_history`` of claimed rows: how the runs of their tasks went before."""
    # Read for what is claimed only: reading it for everything that is due costs more.
    tasks = list({row.task_id for row in rows if row.task_id is not None})
    if not tasks:
        return
    past = {
        pk: past for pk, *past in RUN_HISTORY_OF.rows(TaskState.objects.using(using), tasks=tasks)
    }
    for row in rows:
        if row.task_id in past:
            row.run_history = dict(zip(TaskState.RUN_HISTORY, past[row.task_id], strict=True))


def run_history_of(
    everything: TaskStateQuerySet, *, tasks: Collection[int]
) -> models.QuerySet[TaskState, tuple[Any, ...]]:
    """Return a query for the task ids and how the runs of each went before."""
    return everything.filter(AnyOf("pk", tasks)).values_list("pk", *TaskState.RUN_HISTORY)


FIRST_DUE = CompiledQuery(first_due, "now", "handlers")
SUSPECTS_DUE = CompiledQuery(suspects_due, "now", "handlers")
FREE_TO_LOCK = CompiledQuery(free_to_lock, "tasks")
RUNNING_OF = CompiledQuery(running_of, "tasks")
RUN_HISTORY_OF = CompiledQuery(run_history_of, "tasks")
