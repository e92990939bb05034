"""Claim: queued executions become a worker's, one attempt at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import IntegrityError, models

from scheduled_tasks.exceptions import AlreadyRunning, UnknownTask
from scheduled_tasks.models.life.firing import FiringQuerySet
from scheduled_tasks.models.life.transitions import (
    claimed_values,
    give_up,
    over_before_start,
    take_claim,
)
from scheduled_tasks.models.locking import LostRaceError, in_transaction
from scheduled_tasks.models.state import TaskState
from scheduled_tasks.models.worker import Worker

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution

#: A claim looks at so many executions first, even for one free place, and at twice as many at each
#: further look, up to the most; what stands behind all that it looks at waits for the next claim.
LEAST_LOOKED_AT, MOST_LOOKED_AT = 20, 1_000
MOST_LOOKS = 10
ANOTHER_CLAIMED = "Another worker claimed an execution meanwhile."


class ClaimingQuerySet(FiringQuerySet):
    """Adds the verb that hands executions to workers."""

    def claim(
        self,
        worker: Worker,
        now: datetime,
        *,
        limit: int,
        handlers: Collection[str],
        queues: Collection[str] = (),
    ) -> list[Execution]:
        """Take up to ``limit`` executions for a worker, highest priority first, then the oldest.

        Of a task that may not overlap, one at most, and none while another of its executions runs.
        Those of tasks whose states others hold are left to them. What may not run any more when
        its turn has come is ended instead. Two workers never get the same attempt, even where rows
        cannot be locked. Committed before any handler runs.
        """

        def operation() -> tuple[list[Execution], bool]:
            rows = self.using(using)
            due = rows.waiting_for(handlers=handlers, queues=queues).filter(run_after__lte=now)
            free = due.not_held_back(now)
            return rows.claim_first(free, worker, now, limit - len(claimed), looked_at)

        using = self.write_alias
        claimed: list[Execution] = []
        for look in range(MOST_LOOKS):
            looked_at = max(limit * 2, min(LEAST_LOOKED_AT * 2**look, MOST_LOOKED_AT))
            more, goes_on = in_transaction(operation, using=using)
            claimed += more
            if not goes_on or len(claimed) == limit:
                break
        return claimed

    def claim_first(
        self, due: Self, worker: Worker, now: datetime, limit: int, looked_at: int
    ) -> tuple[list[Execution], bool]:
        """Claim from the first of what is due, within a transaction; return what was claimed.

        Say besides whether it is worth another look: what was looked at may all have been of one
        task, or too late to run, and others stand behind it.
        """
        first = due.order_by("-priority", "pk").values_list("pk", "task_id")
        candidates = dict(first[:looked_at])
        task_ids = {task_id for task_id in candidates.values() if task_id is not None}
        states = TaskState.objects.using(self.db).lock_tasks(task_ids, skip=True)
        ids = [pk for pk, task in candidates.items() if task is None or task in states]
        over, chosen = self.choose(ids, now, limit=limit)
        self.end_queued(over, states)
        self.hand_over(chosen, worker, now)
        return chosen, len(candidates) == looked_at and bool(over or chosen)

    def queue(self, execution: Execution) -> None:
        """Save a new execution. Raise UnknownTask if its task was deleted meanwhile."""
        using = self.write_alias
        in_transaction(lambda: self.using(using).insert(execution), using=using)

    def begin(self, execution: Execution, worker: Worker, now: datetime) -> None:
        """Save a new execution as one that this worker holds from its first moment.

        Raise AlreadyRunning if another one of its task runs and they may not overlap, UnknownTask
        if the task was deleted meanwhile.
        """

        def operation() -> None:
            rows.insert(execution)
            _, chosen = rows.choose([execution.pk], now, limit=1)
            if not chosen:
                raise AlreadyRunning(
                    f"The task {execution.task_name!r} is running already, and its executions "
                    "may not overlap: wait until it has ended, or cancel it."
                )
            rows.hand_over(chosen, worker, now)

        using = self.write_alias
        rows = self.using(using)
        in_transaction(operation, using=using)
        execution.refresh_from_db(using=using)

    def insert(self, execution: Execution) -> None:
        """Save a new execution under the lock of its task, within a transaction."""
        execution.pk = None  # which a transaction that had to be begun anew has given it
        task = execution.task
        if task is not None:
            TaskState.objects.using(self.db).lock_tasks([task.pk])
            if not type(task).objects.using(self.db).filter(pk=task.pk).exists():
                raise UnknownTask(f"The task {task.name!r} was deleted.")
        execution.save(force_insert=True, using=self.db)

    def choose(
        self, ids: Sequence[int], now: datetime, *, limit: int
    ) -> tuple[list[Execution], list[Execution]]:
        """Return which executions of locked tasks end without running, and which are claimed."""
        waiting = self.queued().filter(pk__in=ids).select_related("task")
        rows = list(waiting.order_by("-priority", "pk")) if ids else []
        exclusive = {row.task_id for row in rows if not row.may_overlap}
        beside = self.running().filter(task__in=exclusive).values_list("task_id", flat=True)
        busy = set(beside) if exclusive else set()
        over: list[Execution] = []
        chosen: list[Execution] = []
        for row in rows:
            if len(chosen) == limit:
                break
            if row.is_paused(now) or (not row.may_overlap and row.task_id in busy):
                continue
            if end := over_before_start(row, now):
                give_up(row, *end, now)
                over.append(row)
                continue
            chosen.append(row)
            busy.add(row.task_id)
        return over, chosen

    def hand_over(self, rows: Sequence[Execution], worker: Worker, now: datetime) -> None:
        """Make queued executions a worker's, on record and in the given rows.

        Raise LostRaceError, so that the transaction is begun anew, if another worker was faster.
        """
        for row in rows:
            take_claim(row, worker, now)
        values = claimed_values(worker, now)
        for may_overlap in (True, False):
            ids = [row.pk for row in rows if row.may_overlap is may_overlap]
            exclusive = None if may_overlap else models.F("task_id")
            try:
                claimed = (
                    self.queued()
                    .filter(pk__in=ids)
                    .update(**values, attempt=models.F("attempt") + 1, exclusive=exclusive)
                    if ids
                    else 0
                )
            except IntegrityError as error:  # two of one task, where no lock kept them apart
                raise LostRaceError(ANOTHER_CLAIMED) from error
            if claimed != len(ids):
                raise LostRaceError(ANOTHER_CLAIMED)
