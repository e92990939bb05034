"""Requeue: what failed for good is run once more, as an execution of its own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduled_tasks.models.life.ending import EndingQuerySet
from scheduled_tasks.models.locking import LostRaceError, in_transaction
from scheduled_tasks.models.state import TaskState
from scheduled_tasks.models.waking import wake_workers

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


class RequeueingQuerySet(EndingQuerySet):
    """Adds the verb that runs failed executions once more."""

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

        def operation() -> Execution | None:
            rows = self.using(using)
            failed = rows.dead().filter(pk=execution_id, task__isnull=False)
            task_ids = list(failed.values_list("task_id", flat=True))
            states = TaskState.objects.using(using).lock_tasks(task_ids)
            row = failed.filter(task__in=states).locked().first()
            if row is None:
                return None
            again = self.model.again(row, now=now, by=by, payload=payload)
            again.save(force_insert=True, using=using)
            resolution = f"Requeued as #{again.pk}."
            if not rows.dead().filter(pk=row.pk).update(resolved_at=now, resolution=resolution):
                raise LostRaceError("Somebody else resolved an execution meanwhile.")
            wake_workers(using)
            return again

        using = self.write_alias
        return in_transaction(operation, using=using)
