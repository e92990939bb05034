"""Cancel, skip and give up executions that wait; ask those that run to stop."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from django.db import models

from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.sets import ExecutionSets
from scheduled_tasks.lifecycle.transitions import DELETED, GIVING_UP_FIELDS, give_up
from scheduled_tasks.models.sql.compiled import Prepared
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.runtime.sanitizing import redacted_text

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


class StoppingQuerySet(ExecutionSets):
    """Adds the verbs that keep executions from going on."""

    def cancel(self, ids: Collection[int], now: datetime, *, reason: str = "", by: str = "") -> int:
        """Cancel executions, a batch at a time; return how many were still to be stopped.

        What is queued ends at once. What runs is asked to stop by its worker, and ends when it
        has; ``reason``, and ``by`` whom, is on record from now on.
        """

        def operation(batch: Collection[int]) -> int:
            rows = self.using(using).filter(pk__in=batch).unfinished()
            rows.lock_states()
            stopped = rows.stop(now, reason=why_cancelled(reason, by))
            if stopped:
                wake_workers(using)
            return stopped

        using = self.write_alias
        return sum(in_transaction(partial(operation, batch), using=using) for batch in batches(ids))

    def stop(self, now: datetime, *, reason: str) -> int:
        """Cancel the unfinished executions of this set, within a transaction; return how many."""
        found = dict(self.locked().values_list("pk", "status"))
        status = self.model.Status
        rows = self.model.objects.using(self.db)
        queued = [pk for pk in found if found[pk] == status.QUEUED]
        running = [pk for pk in found if found[pk] == status.RUNNING]
        ended = (
            rows.queued()
            .filter(pk__in=queued)
            .update(status=status.CANCELLED, reason=reason, finished_at=now)
            if queued
            else 0
        )
        asked = (
            rows.running()
            .filter(pk__in=running, cancel_requested_at=None)
            .update(cancel_requested_at=now, reason=reason)
            if running
            else 0
        )
        return ended + asked

    def asked_to_stop(self, worker: str) -> list[tuple[int, int, str]]:
        """Return id, attempt and reason of what a worker holds and somebody has cancelled."""
        return ASKED_TO_STOP.rows(self.on_record(), workers=[worker])

    def held_and_asked_to_stop(
        self, *, workers: Collection[str]
    ) -> models.QuerySet[Execution, tuple[int, int, str]]:
        """Return a query for what workers hold and somebody has cancelled."""
        held = self.held(workers=workers).filter(cancel_requested_at__isnull=False)
        return held.values_list("pk", "attempt", "reason")

    def withdraw(self, state: TaskState, now: datetime, *, reason: str) -> int:
        """End the queued slots of a locked task, within a transaction; return how many.

        One that was never claimed is skipped. One that waits for another attempt has failed, with
        the error of its last one.
        """
        waiting = self.filter(task=state.pk).queued().of_slots()
        rows = list(waiting.locked())
        for row in rows:
            give_up(row, row.Status.SKIPPED, reason, now)
        self.end_queued(rows, {state.pk: state})
        return len(rows)

    def end_queued(self, rows: Sequence[Execution], states: Mapping[int, TaskState]) -> None:
        """Write rows that end without another attempt, and the states of those that failed."""
        self.write(rows, GIVING_UP_FIELDS, status=self.model.Status.QUEUED)
        failed = [row for row in rows if row.status == self.model.Status.FAILED]
        TaskState.objects.using(self.write_alias).note_all(failed, states)

    def cancel_waiting(self, task_id: int, now: datetime) -> int:
        """Cancel all that waits of a task that is being deleted, within a transaction."""
        return self.filter(task=task_id).queued().stop(now, reason=DELETED)


def why_cancelled(reason: str, by: str) -> str:
    """Return what is on record of an execution that somebody has cancelled."""
    if not by:
        return redacted_text(reason) or "Cancelled."
    return redacted_text(f"Cancelled by {by}: {reason}" if reason else f"Cancelled by {by}.")


ASKED_TO_STOP = Prepared(StoppingQuerySet.held_and_asked_to_stop, "workers")
