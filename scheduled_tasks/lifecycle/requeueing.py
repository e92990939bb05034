"""Requeue: what failed for good is run once more, as an execution of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.ending import EndingQuerySet
from scheduled_tasks.models.sql.any_of import Among
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import LostRaceError, in_transaction
from scheduled_tasks.models.task_state import TaskState

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


@dataclass(slots=True)
class Requeued:
    """What became of executions that were to be requeued: the new ones, and what was refused.

    ``refused`` says why by number. What is in neither did not wait for anybody any more.
    """

    again: list[Execution] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)


class RequeueingQuerySet(EndingQuerySet):
    """Adds the verbs that run failed executions once more."""

    def requeue(
        self,
        execution_id: int,
        now: datetime,
        *,
        by: str = "",
        payload: dict[str, Any] | None = None,
    ) -> Execution | None:
        """Queue a failed execution once more, with its own payload or another; return the new one.

        The failed one is resolved by it. None where that is not a failed one that nobody has
        resolved yet, as when somebody else was faster, or its task is deleted.
        """

        def operation() -> list[Execution]:
            rows = self.using(using)
            return rows.queue_anew(rows.lock_dead([execution_id]), now, by=by, payload=payload)

        using = self.write_alias
        return next(iter(in_transaction(operation, using=using)), None)

    def requeue_all(self, ids: Collection[int], now: datetime, *, by: str = "") -> Requeued:
        """Queue failed executions once more, a batch at a time, each with its own payload.

        One whose handler is not registered, or does not take the payload, is refused.
        """

        def operation(batch: Collection[int]) -> Requeued:
            rows = self.using(using)
            done = Requeued()
            taken = []
            for row in rows.lock_dead(batch):
                try:
                    row.check_payload()
                    taken.append(row)
                except ScheduledTasksError as error:
                    done.refused[row.pk] = str(error)
            done.again = rows.queue_anew(taken, now, by=by)
            return done

        using = self.write_alias
        all_done = Requeued()
        for batch in batches(ids):
            done = in_transaction(partial(operation, batch), using=using)
            all_done.again += done.again
            all_done.refused |= done.refused
        return all_done

    def lock_dead(self, ids: Collection[int]) -> list[Execution]:
        """Lock what waits for somebody among these and may be requeued, within a transaction."""
        dead = self.dead().filter(Among("pk", ids), task__isnull=False)
        tasks = {pk for pk in dead.values_list("task_id", flat=True) if pk is not None}
        states = TaskState.objects.using(self.db).lock_tasks(tasks) if tasks else {}
        rows = dead.filter(task__in=states).only(*self.model.KEPT_BY_REQUEUE, "payload", "status")
        return list(rows.locked()) if states else []

    def queue_anew(
        self,
        rows: Sequence[Execution],
        now: datetime,
        *,
        by: str,
        payload: dict[str, Any] | None = None,
    ) -> list[Execution]:
        """Queue locked executions once more and resolve them by it, within a transaction.

        Raise LostRaceError, so that the transaction is begun anew, if somebody settled one of them.
        """
        if not rows:
            return []
        again = [self.model.again(row, now=now, by=by, payload=payload) for row in rows]
        self.bulk_create(again)
        # Not every database tells the ids of what was inserted.
        made = self.filter(Among("requeue_of", [row.pk for row in rows])).order_by()
        numbers = dict(made.values_list("requeue_of_id", "pk"))
        changes = []
        for new in again:
            new.pk = numbers[new.requeue_of_id]
            said = f"Requeued as #{new.pk}."
            values = {"resolved_at": now, "resolution": said, "resolved_by": by}
            # What is resolved has a resolution: nothing else tells by a plain comparison.
            guard = {"id": new.requeue_of_id, "status": self.model.Status.FAILED, "resolution": ""}
            changes.append((values, guard))
        if update_each(self.model, changes, using=self.db) != len(changes):
            raise LostRaceError("Somebody else resolved an execution meanwhile.")
        wake_workers(self.db)
        return again
