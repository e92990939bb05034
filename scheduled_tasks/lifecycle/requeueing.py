"""Requeue: a dead letter is run again, as a new execution."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.transitions import SETTLED_MEANWHILE
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional, write_alias
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task_state import TaskState

#: The columns that a requeued execution has in common with the failed one.
KEPT = (
    "task_id",
    "task_name",
    "handler",
    "queue",
    "priority",
    "scheduled_for",
    "probation_seconds",
)


@dataclass(slots=True)
class Requeued:
    """The new executions, and by the id of a failed one why it was refused.

    An execution that is in neither was not a dead letter any more.
    """

    again: list[Execution] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


@transactional
def requeue(
    execution_id: int,
    now: datetime,
    *,
    by: str = "",
    payload: dict[str, Any] | None = None,
    using: str = "",
) -> Execution | None:
    """Queue a failed execution once more, with its own payload or another; return the new one.

    This resolves the failed one. Return None if it is no dead letter, perhaps since another
    transaction was faster, or if its task is deleted.
    """
    refuse_unstorable(by=by)
    rows = lock_dead([execution_id], using=using)
    return next(iter(queue_again(rows, now, by=by, payload=payload, using=using)), None)


def requeue_all(ids: Collection[int], now: datetime, *, by: str = "") -> Requeued:
    """Queue failed executions once more, one batch per transaction, each with its own payload.

    One whose handler is not registered, or does not accept the payload, is refused.
    """
    refuse_unstorable(by=by)
    using = write_alias()
    all_done = Requeued()
    for batch in batches(ids):
        done = requeue_batch(batch, now, by=by, using=using)
        all_done.again += done.again
        all_done.refused |= done.refused
    return all_done


@transactional
def requeue_batch(ids: Collection[int], now: datetime, *, by: str, using: str) -> Requeued:
    done = Requeued()
    accepted = []
    for row in lock_dead(ids, using=using):
        try:
            row.check_payload()
            accepted.append(row)
        except ScheduledTasksError as error:
            done.refused[row.pk] = str(error)
    done.again = queue_again(accepted, now, by=by, using=using)
    return done


def lock_dead(ids: Collection[int], *, using: str) -> list[Execution]:
    """Lock the dead letters among these that have a task still, within a transaction."""
    dead = Execution.objects.using(using).dead().filter(AnyOf("pk", ids), task__isnull=False)
    tasks = {pk for pk in dead.values_list("task_id", flat=True) if pk is not None}
    # A deletion of the task holds its state: it either cancels the new execution or comes first.
    states = TaskState.objects.using(using).lock_tasks(tasks) if tasks else {}
    rows = dead.filter(task__in=states).only(*KEPT, "payload", "status")
    found = list(rows.locked()) if states else []
    for row in found:
        # What was lost is a suspect still, and so is everything of a task that is one.
        state = states[row.task_id or 0]
        row.probation_seconds = row.probation_seconds or state.probation_seconds
    return found


def queue_again(
    rows: Sequence[Execution],
    now: datetime,
    *,
    by: str,
    using: str,
    payload: dict[str, Any] | None = None,
) -> list[Execution]:
    """Queue locked executions once more, and so resolve them, within a transaction.

    Raise LostRaceError, and so retry the transaction, if one of them was settled meanwhile.
    """
    if not rows:
        return []
    again = [requeued(row, now, by=by, payload=payload) for row in rows]
    everything = Execution.objects.using(using)
    everything.bulk_create(again)
    # Not every database returns the ids of what was inserted.
    made = everything.filter(AnyOf("requeue_of", [row.pk for row in rows])).order_by()
    ids: dict[int | None, int] = dict(made.values_list("requeue_of_id", "pk"))
    changes = []
    for new in again:
        new.pk = ids[new.requeue_of_id]
        resolution = f"Requeued as #{new.pk}."
        values = {"resolved_at": now, "resolution": resolution, "resolved_by": by}
        # What is resolved has a resolution: this guard is a plain comparison, IS NULL is none.
        guard = {"id": new.requeue_of_id, "status": Execution.Status.FAILED, "resolution": ""}
        changes.append((values, guard))
    if update_each(Execution, changes, using=using) != len(changes):
        raise LostRaceError(SETTLED_MEANWHILE)
    wake_workers(using)
    return again


def requeued(
    failed: Execution, now: datetime, *, by: str, payload: dict[str, Any] | None
) -> Execution:
    """Build an execution for the same scheduled time as a failed one."""
    return Execution(
        **{name: getattr(failed, name) for name in KEPT},
        payload=failed.payload if payload is None else payload,
        requeue_of=failed,
        trigger=Execution.Trigger.REQUEUE,
        triggered_by=by,
        run_after=now,
        created_at=now,
    )
