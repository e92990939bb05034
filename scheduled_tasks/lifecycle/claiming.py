"""Claim: queued executions become a worker's, one attempt at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import IntegrityError, models

from scheduled_tasks.exceptions import AlreadyRunning, UnknownTask
from scheduled_tasks.lifecycle.firing import FiringQuerySet
from scheduled_tasks.lifecycle.transitions import (
    claimed_values,
    give_up,
    over_before_start,
    take_claim,
)
from scheduled_tasks.models.sql.any_of import Among
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.compiled import Prepared
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import LostRaceError, in_transaction
from scheduled_tasks.models.task_state import FREE_TO_LOCK, SO_FAR_OF, TaskState
from scheduled_tasks.models.worker import Worker

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution

#: A claim looks at so many executions first, or at one for each free place, and at twice as many at
#: each further look, up to the most; what stands behind all of them waits for the next claim.
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
        What others hold, of executions and of the states of such tasks, is left to them. What may
        not run any more when its turn has come is ended instead. Two workers never get the same
        attempt, even where rows cannot be locked. Committed before any handler runs.
        """

        def operation() -> tuple[list[Execution], int, int]:
            due = FIRST_DUE.rows(
                self.using(using),
                now=now,
                handlers=list(handlers),
                queues=tuple(queues),
                looked_at=looked_at,
                # It is left out later, too; to ask for it costs more than all the rest.
                without_held_back=look > 0,
            )
            return self.using(using).claim_first(due, worker, now, limit - len(claimed))

        using = self.write_alias
        claimed: list[Execution] = []
        for look in range(MOST_LOOKS):
            looked_at = max(limit, min(LEAST_LOOKED_AT * 2**look, MOST_LOOKED_AT))
            more, seen, moved = in_transaction(operation, using=using)
            claimed += more
            if seen < looked_at or len(claimed) == limit or (look and not moved):
                break
        return claimed

    def first_due(
        self,
        *,
        now: datetime,
        handlers: Collection[str],
        queues: Collection[str],
        looked_at: int,
        without_held_back: bool,
    ) -> Self:
        """Return a query that locks the first of what such a worker may claim, and reads it.

        Here alone executions are locked before states. No transaction waits for another one in a
        circle by that, since what somebody holds is skipped.
        """
        due = self.waiting_for(handlers=handlers, queues=queues).filter(run_after__lte=now)
        due = due.not_held_back(now) if without_held_back else due.not_paused(now)
        read = due.select_related("task").only(*self.model.READ_TO_CLAIM).locked(skip=True)
        return read.order_by("-priority", "pk")[:looked_at]

    def claim_first(
        self, rows: Sequence[Execution], worker: Worker, now: datetime, limit: int
    ) -> tuple[list[Execution], int, int]:
        """Claim from the first of what is due, within a transaction.

        Return what was claimed, how many were looked at, and how many were claimed or ended: all
        that was looked at may have been held back, and others stand behind it.
        """
        over, chosen = self.choose(rows, now, limit=limit)
        over = self.end_over(over)
        self.hand_over(chosen, worker, now)
        return chosen, len(rows), len(over) + len(chosen)

    def end_over(self, over: Sequence[Execution]) -> list[Execution]:
        """End queued executions, but those of which others hold the states; return which ended."""
        tasks = {row.task_id for row in over if row.task_id is not None}
        if not over:
            return []
        states = TaskState.objects.using(self.db).lock_tasks(tasks, skip=True)
        ended = [row for row in over if row.task_id is None or row.task_id in states]
        self.end_queued(ended, states)
        return ended

    def queue(self, execution: Execution) -> None:
        """Save a new execution. Raise UnknownTask if its task was deleted meanwhile."""

        def operation() -> None:
            self.using(using).insert(execution)
            wake_workers(using)

        using = self.write_alias
        in_transaction(operation, using=using)

    def begin(self, execution: Execution, worker: Worker, now: datetime) -> None:
        """Save a new execution as one that this worker holds from its first moment.

        Raise AlreadyRunning if another one of its task runs and they may not overlap, UnknownTask
        if the task was deleted meanwhile.
        """

        def operation() -> None:
            rows.insert(execution)
            _, chosen = rows.choose([execution], now, limit=1)
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
            locked = TaskState.objects.using(self.db).lock_tasks([task.pk])
            found = type(task).objects.using(self.db).filter(pk=task.pk).first()
            if found is None:
                raise UnknownTask(f"The task {task.name!r} was deleted.")
            execution.task = found
            if not locked:
                found.save(using=self.db, now=execution.created_at)  # it was made without a clock
        execution.save(force_insert=True, using=self.db)

    def choose(
        self, rows: Sequence[Execution], now: datetime, *, limit: int
    ) -> tuple[list[Execution], list[Execution]]:
        """Return which of these queued executions end without running, and which are claimed."""
        alone = {row.task_id for row in rows if row.task_id is not None and not row.may_overlap}
        busy = self.lock_to_run_alone(alone)
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
            if row.task_id is not None:
                busy.add(row.task_id)
        return over, chosen

    def lock_to_run_alone(self, task_ids: set[int]) -> set[int]:
        """Lock the states of tasks that may not overlap; return those of which none may run now.

        That is where another transaction holds the state, or another execution runs.
        """
        if not task_ids:
            return set()
        states = TaskState.objects.using(self.db)
        held = set(FREE_TO_LOCK.rows(states, tasks=list(task_ids)))
        running = RUNNING_OF.rows(self, tasks=list(held))
        return task_ids.difference(held).union(pk for pk in running if pk is not None)

    def running_of(self, *, tasks: Collection[int]) -> models.QuerySet[Execution, int | None]:
        """Return a query for those of these tasks of which an execution runs."""
        beside = self.running().filter(Among("task", tasks)).order_by()
        return beside.values_list("task_id", flat=True)

    def hand_over(self, rows: Sequence[Execution], worker: Worker, now: datetime) -> None:
        """Make queued executions a worker's, on record and in the given rows.

        Raise LostRaceError, so that the transaction is begun anew, if another worker was faster.
        """
        changes = []
        for row in sorted(rows, key=lambda row: row.pk):
            guard = {"id": row.pk, "attempt": row.attempt, "status": row.Status.QUEUED}
            take_claim(row, worker, now)
            own = {"attempt": row.attempt, "exclusive": row.exclusive}
            changes.append((claimed_values(worker, now) | own, guard))
        try:
            claimed = update_each(self.model, changes, using=self.db)
        except IntegrityError as error:  # two of one task, where no lock kept them apart
            raise LostRaceError(ANOTHER_CLAIMED) from error
        if claimed != len(changes):
            raise LostRaceError(ANOTHER_CLAIMED)
        self.tell_past(rows)

    def tell_past(self, rows: Sequence[Execution]) -> None:
        """Let claimed rows know how the runs of their tasks went before.

        It is asked for what is claimed only: to read it with all that is due costs more.
        """
        tasks = list({row.task_id for row in rows if row.task_id is not None})
        if not tasks:
            return
        states = TaskState.objects.using(self.db)
        past = {pk: past for pk, *past in SO_FAR_OF.rows(states, tasks=tasks)}
        for row in rows:
            if row.task_id in past:
                row.so_far = dict(zip(TaskState.SO_FAR, past[row.task_id], strict=True))


FIRST_DUE = Prepared(ClaimingQuerySet.first_due, "now", "handlers")
RUNNING_OF = Prepared(ClaimingQuerySet.running_of, "tasks")
