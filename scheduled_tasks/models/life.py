"""The life of executions: fired, claimed, ended, given back. Nothing else moves them.

Every transaction here locks in one order, the states of tasks before executions and each in
ascending id, and every UPDATE is guarded: locks are for speed, the guards and the unique slot
for correctness.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models

from scheduled_tasks.messages import Sent
from scheduled_tasks.models.guarded import update_each
from scheduled_tasks.models.locking import LockingQuerySet, LostRaceError, in_transaction
from scheduled_tasks.models.state import TaskState
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runs import Ending, Loss

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution
    from scheduled_tasks.models.task import Task

#: An execution's id and one of its attempts: who may speak for it, and end it.
Claim = tuple[int, int]

#: About as many slots are fired in one transaction; tasks far behind fire the rest in the next.
SLOTS_AT_ONCE = 1_000


class ExecutionQuerySet(LockingQuerySet["Execution"]):
    """Sets of executions, and the verbs that move them from one status to another."""

    def queued(self) -> Self:
        """Keep what waits for a worker."""
        return self.filter(status=self.model.Status.QUEUED)

    def running(self) -> Self:
        """Keep what a worker has claimed and not ended."""
        return self.filter(status=self.model.Status.RUNNING)

    def held_by(self, *workers: str) -> Self:
        """Keep what the workers of these ids have claimed and not ended."""
        return self.running().filter(worker__in=workers)

    def waiting_for(self, *, handlers: Collection[str], queues: Collection[str] = ()) -> Self:
        """Keep what waits for a worker with these handlers and queues (none: every queue)."""
        waiting = self.queued().filter(handler__in=handlers)
        return waiting.filter(queue__in=queues) if queues else waiting

    def fire(self, now: datetime, *, limit: int) -> int:
        """Turn the due slots of up to ``limit`` tasks into queued executions; return how many.

        A slot that has an execution already keeps that one. Each clock moves on from the slot
        that it stood at, never from ``now``. A task that cannot tell its slots is parked and
        stops no other.
        """

        def operation() -> int:
            states = TaskState.objects.using(using)
            fired: list[Execution] = []
            moves: dict[int, tuple[datetime, datetime | None]] = {}
            for state in states.lock_due(now, limit=limit):
                due = state.due_slots(now, at_most=max(SLOTS_AT_ONCE - len(fired), 1))
                if due is not None:
                    fired += [self.model.for_slot(state.task, slot, now=now) for slot in due.slots]
                    moves[state.pk] = (due.since, due.next)
            self.using(using).bulk_create(fired, ignore_conflicts=True)
            return len(fired) if states.advance(moves) else 0

        using = self.write_alias
        return in_transaction(operation, using=using)

    def claim(
        self,
        worker: Worker,
        now: datetime,
        *,
        limit: int,
        handlers: Collection[str],
        queues: Collection[str] = (),
    ) -> list[Execution]:
        """Take up to ``limit`` executions for a worker, highest priority first.

        Those of tasks whose states others hold are left to them. Two workers never get the same
        attempt, even where rows cannot be locked. Committed before any handler runs.
        """

        def operation() -> list[Execution]:
            rows = self.using(using)
            waiting = rows.waiting_for(handlers=handlers, queues=queues)
            due = waiting.filter(run_after__lte=now).order_by("-priority", "pk")
            candidates = dict(due.values_list("pk", "task_id")[: limit * 2])
            tasks = {task_id for task_id in candidates.values() if task_id is not None}
            free = TaskState.objects.using(using).lock_tasks(tasks, skip=True)
            ids = [pk for pk, task_id in candidates.items() if task_id is None or task_id in free]
            rows.queued().filter(pk__in=ids[:limit]).update(
                status=self.model.Status.RUNNING,
                worker=str(worker.pk),
                worker_label=worker.label,
                attempt=models.F("attempt") + 1,
                claimed_at=now,
            )
            claimed = rows.held_by(str(worker.pk)).filter(pk__in=ids[:limit])
            return list(claimed.select_related("task").order_by("-priority", "pk"))

        using = self.write_alias
        return in_transaction(operation, using=using)

    def end(self, endings: Sequence[Ending], worker: Worker, now: datetime) -> list[Execution]:
        """Write how attempts ended: the gate that every ending passes. Return what it took.

        A lost attempt ends or queues its execution again, as of ``now``. An ending whose
        execution is no longer held by this worker under the same attempt is left out: somebody
        else answers for it now.
        """

        def operation() -> list[Execution]:
            ids = {execution_id for execution_id, _ in by_claim}
            held = self.using(using).held_by(str(worker.pk)).filter(pk__in=ids)
            task_ids = {pk for pk in held.values_list("task_id", flat=True) if pk is not None}
            states = TaskState.objects.using(using).lock_tasks(task_ids)
            taken = {
                row: by_claim[claim]
                for row in held.locked()
                if (claim := (row.pk, row.attempt)) in by_claim
            }
            lost = [row for row, ending in taken.items() if isinstance(ending, Loss)]
            models.prefetch_related_objects(lost, "task")
            for row, ending in taken.items():
                row.take_ending(ending, now)
            rows = sorted(taken, key=lambda row: (row.finished_at or now, row.pk))
            self.using(using).release(rows, self.model.ENDING_FIELDS, states)
            return rows

        using = self.write_alias
        by_claim = {claim_of(ending): ending for ending in endings}
        return in_transaction(operation, using=using)

    def give_back(
        self, workers: Collection[str], now: datetime, *, reason: str, charged: bool
    ) -> int:
        """Take what the workers of these ids hold, by each task's ``on_lost``; return how many.

        ``retry`` queues it again, up to ``max_losses`` times where the loss is ``charged``;
        otherwise it ends failed with the category ``lost``.
        """

        def operation() -> int:
            held = self.using(using).held_by(*workers)
            task_ids = {pk for pk in held.values_list("task_id", flat=True) if pk is not None}
            states = TaskState.objects.using(using).lock_tasks(task_ids)
            rows = list(held.locked().prefetch_related("task"))
            for row in rows:
                row.take_loss(now, reason=reason, charged=charged)
            self.using(using).release(rows, self.model.LOSS_FIELDS, states)
            return len(rows)

        using = self.write_alias
        return in_transaction(operation, using=using)

    def release(
        self, rows: Sequence[Execution], fields: Sequence[str], states: Mapping[int, TaskState]
    ) -> None:
        """Write rows that a worker held until now, and the locked states of their tasks.

        Raise LostRaceError, so that the transaction is begun anew, if one of them is not held
        under the same attempt any more.
        """
        changes = (({name: getattr(row, name) for name in fields}, row.guard) for row in rows)
        if update_each(self.model, changes, using=self.write_alias) != len(rows):
            raise LostRaceError("Another worker ended an execution meanwhile.")
        touched: dict[int, TaskState] = {}
        for row in rows:
            if row.finished and row.task_id is not None and row.task_id in states:
                touched[row.task_id] = states[row.task_id]
                touched[row.task_id].note(row)
        TaskState.objects.using(self.write_alias).write_results(touched.values())

    def reap(self, now: datetime) -> int:
        """Take back what is held by workers that are gone, or have no row; return how many."""
        # The holders are read first: a worker that starts in between must not look like none.
        holders = set(self.running().values_list("worker", flat=True).distinct())
        present = Worker.objects.exclude(state__in=Worker.GONE).values_list("pk", flat=True)
        gone = holders.difference(map(str, present))
        if not gone:
            return 0
        return self.give_back(gone, now, reason="Its worker was lost.", charged=True)

    def skip_waiting(self, task: Task, now: datetime, *, reason: str) -> int:
        """End the queued slots of a task that cannot run; return how many."""
        waiting = self.queued().filter(task=task, slot__isnull=False)
        return waiting.update(status=self.model.Status.SKIPPED, reason=reason, finished_at=now)


def claim_of(said: Ending | Sent) -> Claim:
    """Return the claim under which a worker says something of an execution."""
    return said.execution_id, said.attempt
