"""What follows when executions end: every transaction that writes a final status passes here.

The functions are called within that transaction, with all that it changed at once. What they do
outside the database happens after the commit, in the process and thread that committed. In a
transaction of the caller, such as a test case or an atomic request, that is when the caller
commits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.db import transaction

from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle.batches import BATCH_SIZE
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.monitoring.rollups import recording as rollups
from scheduled_tasks.runtime.signal_sending import send
from scheduled_tasks.runtime.statuses import FINISHED
from scheduled_tasks.signals import execution_finished, slot_missed


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Executions that a transaction moved from the status ``before`` to the status ``after``.

    The rows are as they were written.
    """

    before: str
    after: str
    rows: Sequence[Execution]

    @property
    def ids(self) -> list[int]:
        return [row.pk for row in self.rows]


@dataclass(frozen=True, slots=True)
class CoveredSlots:
    """Slots that a transaction added to a row that covers slots.

    ``first`` is the first slot of the row, which finds it. ``is_new`` says that the transaction
    made the row. ``at`` is when it was decided.
    """

    task_id: int
    task_name: str
    first: datetime
    slots: Sequence[datetime]
    status: str
    at: datetime
    is_new: bool


def executions_moved(changes: Collection[StatusChange], *, using: str) -> None:
    """Count executions in the rollups, and send the signals for those that ended."""
    rollups.record(
        (fact for change in changes for fact in rollups.ended(change.rows, before=change.before)),
        using=using,
    )
    if not has_receivers():
        return
    ended = [pk for change in changes if is_final(change.after) for pk in change.ids]
    if ended:
        after_commit(partial(send_finished, ended, using=using), using)


def ended_before(ids: Sequence[int], *, using: str) -> None:
    """Send ``execution_finished`` for what an earlier transaction ended without an answer.

    The connection was lost at its COMMIT, so it could not send the signal itself.
    """
    if has_receivers():
        after_commit(partial(send_finished, ids, using=using), using)


def slots_covered(covered: Sequence[CoveredSlots], *, using: str) -> None:
    """Count slots in the rollups, and send the signals for rows that are new or were missed."""
    rollups.record(
        (
            rollups.covered(
                each.task_id, each.task_name, each.status, slots=len(each.slots), at=each.at
            )
            for each in covered
        ),
        using=using,
    )
    if covered and has_receivers():
        after_commit(partial(send_covered, covered, using=using), using)


def has_receivers() -> bool:
    """Whether anything listens to the signals: if not, no row has to be read for them."""
    return bool(execution_finished.receivers or slot_missed.receivers)


def is_final(status: str) -> bool:
    return status in FINISHED


def after_commit(announce: partial[None], using: str) -> None:
    # Robust: what is committed must not look as if it had failed.
    transaction.on_commit(announce, using=using, robust=True)


def send_finished(ids: Sequence[int], *, using: str) -> None:
    """Send the signals for executions that ended, in the order in which they ended."""
    rows = Execution.objects.using(using).finished().select_related("task")
    # In batches: a task that is deleted may end thousands of executions at once.
    for start in range(0, len(ids), BATCH_SIZE):
        batch = rows.filter(pk__in=ids[start : start + BATCH_SIZE])
        for row in batch.order_by("finished_at", "pk"):
            sender = sender_for(row)
            send(execution_finished, sender=sender, execution=row)
            if row.status == Execution.Status.MISSED:
                send(slot_missed, sender=sender, execution=row, slots=(row.slot,))


def send_covered(covered: Sequence[CoveredSlots], *, using: str) -> None:
    """Send the signals for rows that cover slots."""
    found = Execution.objects.using(using).select_related("task")
    found = found.filter(
        task__in={each.task_id for each in covered},
        slot__in={each.first for each in covered},
        slot_until__isnull=False,  # a slot that had an execution already has kept that one
    )
    rows = {(row.task_id, row.slot): row for row in found}
    for each in covered:
        row = rows.get((each.task_id, each.first))
        if row is None or row.status != each.status:
            continue  # deleted since, or made by another transaction
        sender = sender_for(row)
        if each.is_new:
            send(execution_finished, sender=sender, execution=row)
        if each.status == Execution.Status.MISSED:
            send(slot_missed, sender=sender, execution=row, slots=tuple(each.slots))


def sender_for(row: Execution) -> object:
    """Return the handler's function, None where this process does not know the handler."""
    # Not the key: Django compares senders by identity, and equal texts need not be identical.
    handler = registry.handlers.get(row.handler)
    return handler.function if handler else None
