"""Fire: slots that have come get an execution, or are covered by a row that says why not.

``fire_and_claim`` is one transaction: lock the states of due tasks, decide their slots, insert the
executions and the covering rows, and move each clock on from its slot by compare-and-set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Count

from scheduled_tasks.lifecycle import alerting
from scheduled_tasks.lifecycle.capacity import Capacity, SlotRow
from scheduled_tasks.lifecycle.covering import Fired, cover
from scheduled_tasks.lifecycle.decisions import REPLACED, Decision, DueSlots, Taken, decide
from scheduled_tasks.lifecycle.lookahead import NEXT_WAITING, past_held_back
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.stopping import stop
from scheduled_tasks.lifecycle.transitions import CLAIMED_MEANWHILE, claimed_values
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_queries import ExecutionQuerySet
from scheduled_tasks.models.pause import SOME_PAUSE, Pause
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import Values, insert_copies, update_each
from scheduled_tasks.models.sql.compiled import BoundQuery, CompiledQuery, first_values
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.row_values import Returned
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional, write_alias
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.heartbeats.recording import record_starts
from scheduled_tasks.runtime.runs import Run

logger = logging.getLogger(__name__)

#: Slots of one task, or somewhat more of several, that one transaction decides.
MAX_SLOTS_PER_TRANSACTION = 5_000
#: Other workers are notified if more executions than this are queued at once.
MAX_QUEUED_SILENTLY = 50


def fire(now: datetime, *, limit: int) -> int:
    """Decide the due slots of up to ``limit`` tasks; return how many slots were decided.

    Each clock moves on from the slot where it stood, never from ``now``. A task whose slots cannot
    be computed is parked and stops no other.
    """
    fired, _ = fire_and_claim(None, now, limit=limit)
    return fired


def fire_and_claim(
    capacity: Capacity | None,
    now: datetime,
    *,
    limit: int,
    handlers: Collection[str] | None = None,
    before_commit: Callable[[], None] | None = None,
) -> tuple[int, list[Run]]:
    """Fire, and claim what a worker has capacity for in the same transaction.

    Return how many slots were decided, and the attempts that were claimed: none while anything
    else waits for that worker, since that may have to run first. Only slots of tasks with these
    ``handlers`` are decided, by default of all tasks.
    """
    due = {"now": now, "limit": limit}
    if handlers is not None:
        due["handlers"] = list(handlers)
    fired, claimed = fire_due(capacity, due, before_commit=before_commit, using=write_alias())
    for item in fired:
        item.log()
    return sum(len(item.decision.verdicts) for item in fired), claimed


@transactional
def fire_due(
    capacity: Capacity | None,
    due: Mapping[str, Any],
    *,
    before_commit: Callable[[], None] | None,
    using: str,
) -> tuple[list[Fired], list[Run]]:
    decided = decide_slots(lock_due(due, using=using), due["now"], capacity, using=using)
    # Everything else is done by now: when the slot comes, only the COMMIT is left.
    if before_commit:
        before_commit()
    return decided


def lock_due(due: Mapping[str, Any], *, using: str) -> list[TaskState]:
    """Lock the states longest due, and their tasks; skip what other transactions hold of either.

    So several workers fire side by side. Return them in ascending id. They are not locked in that
    order: what is skipped is not waited for.
    """
    states = DUE_STATES.rows(TaskState.objects.using(using), **due)
    return sorted(states, key=lambda state: state.pk)


def due_states(
    everything: TaskStateQuerySet,
    now: datetime,
    *,
    limit: int,
    handlers: Collection[str] | None = None,
) -> TaskStateQuerySet:
    """Return a query that locks the states longest due, and reads what deciding slots needs.

    Their tasks are locked, too: an execution cannot be inserted while another transaction holds
    its task.
    """
    due = everything.due(now).select_related("task").only(*TaskState.READ_TO_FIRE)
    if handlers is not None:
        due = due.handled_by(handlers)
    return due.locked(skip=True, also=["task"]).order_by("next_run_at")[:limit]


def decide_slots(
    states: Sequence[TaskState],
    now: datetime,
    capacity: Capacity | None = None,
    *,
    using: str,
    skip: bool = True,
) -> tuple[list[Fired], list[Run]]:
    """Decide the due slots of locked states, within a transaction.

    Return what was decided, and what was claimed of it. With ``skip``, leave tasks for the next
    time if other transactions hold an execution that has to be replaced. Raise LostRaceError, and
    so retry the transaction, if a clock has moved: only possible where rows cannot be locked.
    """
    if not states:
        return [], []
    # Under the locks, so that nothing of a higher priority is overtaken.
    pauses, others_wait = find_obstacles(states, now, capacity, using=using)
    fired = decisions_of(states, now, pauses, using=using)
    # Before the new executions are inserted, or these would be cancelled as well.
    fired = replace_older(fired, now, skip=skip, using=using)
    claimed = insert_taken(fired, now, None if others_wait else capacity, using=using)
    cover(fired, now, using=using)
    alerting.slots_late([late for item in fired if (late := item.late)], now, using=using)
    for item in fired:
        item.state.last_slot = item.decision.last_slot or item.state.last_slot
    if advance({item.state: item.decision.next for item in fired}, using=using) != len(fired):
        raise LostRaceError("Another worker fired a task meanwhile.")
    return fired, claimed


def find_obstacles(
    states: Sequence[TaskState], now: datetime, capacity: Capacity | None, *, using: str
) -> tuple[list[Pause], bool]:
    """Return the pauses that concern the due slots, and whether executions wait for the worker."""
    since = min(state.next_run_at or now for state in states)
    pauses = Pause.objects.using(using)
    queries: list[BoundQuery[Any]] = [SOME_PAUSE.bind(pauses, moment=since)]
    if capacity:
        queries.append(NEXT_WAITING.bind(Execution.objects.using(using), **capacity.serves))
    # Pauses are rare, so their rows are read only if there is one.
    some, *runs = first_values(*queries)
    run = past_held_back(runs[0], now, capacity, using=using) if capacity else None
    waits = run is not None and run <= now
    return list(pauses.ending_after(since)) if some else [], waits


def decisions_of(
    states: Sequence[TaskState], now: datetime, pauses: Sequence[Pause], *, using: str
) -> list[Fired]:
    """Decide; nothing is written but why a task is parked.

    Once MAX_SLOTS_PER_TRANSACTION are decided, the other tasks are left for the next time: no
    transaction may compute for long without a query, or the server ends it. Tasks that are hardly
    late come first, so that none of them waits for the backlog of another.
    """
    counted = [state.pk for state in states if state.task.counts_unfinished]
    unfinished = count_unfinished(counted, using=using)
    paused = any(pause.covers(now) for pause in pauses)
    decided: list[Fired] = []
    left = MAX_SLOTS_PER_TRANSACTION
    for state in sorted(states, key=lambda state: state.next_run_at or now, reverse=True):
        others = unfinished.get(state.pk, 0)
        decision = decision_of(state, now, pauses, others, using=using)
        if decision is not None:
            # What a newest slot replaces was not counted above: a claim has to look.
            free = not (paused or others or state.task.newest_slot_counts)
            decided.append(Fired(state, decision, free))
            left -= len(decision.verdicts)
        if left <= 0:
            break
    return sorted(decided, key=lambda item: item.state.pk)


def count_unfinished(task_ids: Sequence[int], *, using: str) -> dict[int, int]:
    """Return the number of queued and running executions of each of these tasks, by task id."""
    if not task_ids:
        return {}
    return dict(UNFINISHED_OF.rows(Execution.objects.using(using), tasks=task_ids))


def unfinished_of(
    everything: ExecutionQuerySet, *, tasks: Collection[int]
) -> models.QuerySet[Execution, tuple[int, int]]:
    counted = everything.unfinished().filter(AnyOf("task", tasks)).order_by()
    return counted.values_list("task").annotate(Count("pk"))


def decision_of(
    state: TaskState, now: datetime, pauses: Sequence[Pause], unfinished: int, *, using: str
) -> Decision | None:
    """Decide the slots of one task that have come, None where it had to be parked instead."""
    at_most = MAX_SLOTS_PER_TRANSACTION
    while True:
        try:
            due = due_slots(state, now, at_most=at_most)
        except Exception as error:  # one bad row must not stop the others
            logger.exception("parked task=%s", state.task.name)
            park(state, f"Its schedule cannot be followed: {error}", now, using=using)
            return None
        try:
            decision = decide(state.task, due, now, pauses=pauses, unfinished=unfinished)
        except Exception as error:  # one bad row must not stop the others
            logger.exception("parked task=%s", state.task.name)
            park(state, f"Its policies cannot be followed: {error}", now, using=using)
            return None
        if decision.verdicts or not due.slots:
            return decision
        at_most *= 2  # only later slots can decide these


def due_slots(state: TaskState, now: datetime, *, at_most: int) -> DueSlots:
    """Return the first slots that have come.

    A task that may not fire, perhaps disabled by a bulk update, has no slots and no next one.
    """
    since = state.next_run_at
    if since is None or not state.task.enabled or state.parked_at is not None:
        return DueSlots([], None)
    slots: list[datetime] = []
    coming: datetime | None = since
    following = state.task.slots_after(since)
    while coming is not None and coming <= now and len(slots) < at_most:
        slots.append(coming)
        coming = next(following, None)
    return DueSlots(slots, coming)


def replace_older(fired: list[Fired], now: datetime, *, skip: bool, using: str) -> list[Fired]:
    """Cancel the earlier executions of slots of the tasks whose policy is ``cancel_other``.

    With ``skip``, leave out tasks if other transactions hold one of these. Return the rest.
    """
    ids = [
        item.state.pk
        for item in fired
        if item.decision.taken and item.state.task.newest_slot_counts
    ]
    if not ids:
        return fired
    older = Execution.objects.using(using).unfinished().of_slots().filter(task__in=ids)
    # The states of these tasks are locked, but messages of a run lock its execution alone.
    held = lock_free(older) if skip else set()
    stop(older.exclude(task__in=held), now, reason=REPLACED)
    return [item for item in fired if item.state.pk not in held]


def lock_free(rows: ExecutionQuerySet) -> set[int | None]:
    """Lock the rows that no other transaction holds; return the tasks of the other rows."""
    locked = list(rows.locked(skip=True).values_list("pk", flat=True))
    # What is left is held elsewhere, or was queued in between.
    return set(rows.exclude(pk__in=locked).order_by().values_list("task_id", flat=True))


def insert_taken(
    fired: Sequence[Fired], now: datetime, capacity: Capacity | None, *, using: str
) -> list[Run]:
    """Queue executions, or claim them at once as far as there is capacity; return those.

    A slot that has an execution already keeps that one.
    """
    rows = [
        SlotRow(item, slot_values(item.state, taken))
        for item in fired
        for taken in item.decision.taken
    ]
    begun = capacity.choose(rows, now) if capacity else []
    claimed = insert_claimed(begun, capacity.worker, now, using=using) if capacity and begun else []
    keys = {row.key for row in begun}
    waiting = [row.values for row in rows if row.key not in keys]
    insert_slots(waiting, {"created_at": now}, using=using)
    if len(waiting) > MAX_QUEUED_SILENTLY:
        wake_workers(using)
    return claimed


def slot_values(state: TaskState, taken: Taken) -> dict[str, Any]:
    """Return the columns of the queued execution of one slot, which runs after its jitter."""
    task = state.task
    return {
        "task_id": task.pk,
        "trigger": taken.trigger,
        "slot": taken.slot,
        "scheduled_for": taken.slot,
        # Only this moves: otherwise a change of the jitter would move the slots.
        "run_after": taken.slot + task.jitter_at(taken.slot),
        "probation_seconds": state.probation_seconds,
    }


def insert_slots(
    rows: Sequence[Values], shared: Values, *, using: str, returning: Sequence[str] = ()
) -> Returned:
    """Insert executions of slots that have none; return these columns where the database can."""
    return insert_copies(
        Execution._meta.get_field("task"),  # noqa: SLF001
        rows,
        copied=Execution.SNAPSHOTS,
        shared=shared,
        using=using,
        returning=returning,
    )


def insert_claimed(
    rows: Sequence[SlotRow], worker: Worker, now: datetime, *, using: str
) -> list[Run]:
    """Insert executions that a worker holds from the first moment; return their attempts.

    Raise LostRaceError, and so retry the transaction, if one was left out because another of its
    task runs, which can only be where rows cannot be locked.
    """
    shared = claimed_values(worker, now) | {"created_at": now, "attempt": 1}
    values = [row.values | row.claimed for row in rows]
    returning = ("task_id", "slot", "id")
    inserted = insert_slots(values, shared, using=using, returning=returning)
    of_tasks = Execution.objects.using(using).filter(AnyOf("task", {row.task.pk for row in rows}))
    if inserted is None:
        # Not every database returns what was inserted.
        mine = of_tasks.held_by(str(worker.pk)).filter(claimed_at=now)
        inserted = list(mine.values_list("task", "slot", "pk"))
    ids = {(task, slot): pk for task, slot, pk in inserted}
    # A slot that has an execution was left out rightly, any other because of ``exclusive``.
    if lacking := {row.key for row in rows}.difference(ids):
        slots = {slot for _, slot in lacking}
        there = set(of_tasks.filter(slot__in=slots).values_list("task", "slot"))
        if not there.issuperset(lacking):
            raise LostRaceError(CLAIMED_MEANWHILE)
    begun = [(ids[row.key], row) for row in rows if row.key in ids]
    record_starts([(pk, row.task) for pk, row in begun], now, using=using)
    return [row.as_run(pk) for pk, row in begun]


def advance(moves: Mapping[TaskState, datetime | None], *, using: str) -> int:
    """Move each clock to its next slot; return how many moved.

    Compare-and-set: a clock that has left its slot meanwhile stays as it is.
    """
    changes = [
        (
            {"next_run_at": new, "last_slot": state.last_slot, "covering": state.covering},
            {"task_id": state.pk, "next_run_at": state.next_run_at},
        )
        for state, new in sorted(moves.items(), key=lambda move: move[0].pk)
    ]
    # Only now: the guards above hold the slots where the clocks stood.
    for state, new in moves.items():
        state.next_run_at = new
    return update_each(TaskState, changes, using=using)


DUE_STATES = CompiledQuery(due_states, "now", "handlers")
UNFINISHED_OF = CompiledQuery(unfinished_of, "tasks")
