"""End: how attempts ended is written, and whether there will be another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db.models import prefetch_related_objects

from scheduled_tasks.lifecycle.recording import RecordingQuerySet
from scheduled_tasks.lifecycle.sets import claim_of
from scheduled_tasks.lifecycle.transitions import ENDING_FIELDS, take_ending
from scheduled_tasks.models.attempt import Attempt
from scheduled_tasks.models.sql.compiled import Prepared
from scheduled_tasks.models.sql.transactions import in_transaction, waiting_once
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.runs import Ending, Loss

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


class EndingQuerySet(RecordingQuerySet):
    """Adds the verbs that take executions from workers."""

    def end(
        self, endings: Sequence[Ending], worker: Worker, now: datetime, *, skip: bool = False
    ) -> list[Execution]:
        """Write how attempts ended: the gate that every ending passes. Return what it took.

        A lost attempt, or a failed one that is retried, queues its execution again. An ending
        whose execution is no longer held by this worker under the same attempt is left out:
        somebody else answers for it now. So is one that another transaction keeps from being
        written: at once with ``skip``, otherwise after one wait.
        """

        def operation(skip: bool) -> list[Execution]:  # noqa: FBT001
            ids = [execution_id for execution_id, _ in by_claim]
            states, rows = self.using(using).lock_held(skip=skip, workers=[str(worker.pk)], ids=ids)
            taken = {
                row: by_claim[claim] for row in rows if (claim := (row.pk, row.attempt)) in by_claim
            }
            return self.using(using).take(taken, states, now)

        if not endings:
            return []
        using = self.write_alias
        by_claim = {claim_of(ending): ending for ending in endings}
        return waiting_once(operation, skip=skip, using=using)

    def give_back(
        self, workers: Collection[str], now: datetime, *, reason: str, charged: bool
    ) -> int:
        """Take what the workers of these ids hold, by each task's ``on_lost``; return how many.

        ``retry`` queues it again, up to ``max_losses`` times where the loss is ``charged``;
        otherwise it ends failed with the category ``lost``. What another transaction holds is left
        for the next time.
        """

        def operation() -> int:
            states, rows = self.using(using).lock_held(skip=True, workers=list(workers))
            losses = {
                row: Loss(execution_id=row.pk, attempt=row.attempt, reason=reason, charged=charged)
                for row in rows
            }
            return len(self.using(using).take(losses, states, now))

        using = self.write_alias
        return in_transaction(operation, using=using)

    def reap(self, now: datetime) -> int:
        """Take back what is held by workers that are gone, or have no row; return how many."""
        # The holders are read first: a worker that starts in between must not look like none.
        running = self.on_record().running().order_by()
        holders = set(running.values_list("worker", flat=True).distinct())
        here = Worker.objects.on_record().exclude(state__in=Worker.GONE)
        present = here.values_list("pk", flat=True)
        gone = holders.difference(map(str, present))
        if not gone:
            return 0
        return self.give_back(gone, now, reason="Its worker was lost.", charged=True)

    def lock_held(
        self, *, skip: bool, **held: list[Any]
    ) -> tuple[dict[int, TaskState], list[Execution]]:
        """Lock the states of the tasks of what is ``held``, and read its rows; return both.

        That is enough, since whoever moves an execution holds the state of its task, and what is
        written is guarded. With ``skip``, leave out what others hold, and the executions of tasks
        that they hold.
        """
        states = {state.pk: state for state in STATES_OF_HELD.rows(self, skip=skip, **held)}
        rows = HELD_TO_END.rows(self, skip=skip, **held)
        apart = {row.task_id for row in rows if row.task_id is not None}.difference(states)
        if skip and apart:
            all_states = TaskState.objects.using(self.write_alias)
            theirs = set(all_states.filter(pk__in=apart).values_list("pk", flat=True))
            rows = [row for row in rows if row.task_id not in theirs]
        return states, rows

    def states_of_held(self, *, skip: bool, **held: Any) -> TaskStateQuerySet:
        """Return a query that locks the states of the tasks of what is held."""
        return self.held(**held).states().locked(skip=skip)

    def held_to_end(self, *, skip: bool, **held: Any) -> Self:
        """Return a query for what is held, as far as an ending reads it."""
        rows = self.held(**held).only(*self.model.READ_TO_END)
        return rows.locked(skip=True) if skip else rows.order_by("pk")

    def take(
        self, endings: Mapping[Execution, Ending], states: Mapping[int, TaskState], now: datetime
    ) -> list[Execution]:
        """Write the endings of rows, and what follows from them; return the rows in order.

        Raise LostRaceError, so that the transaction is begun anew, if one of them is not held
        under the same attempt any more.
        """
        prefetch_related_objects([row for row in endings if endings[row].may_go_on], "task")
        made = [take_ending(row, ending, now) for row, ending in endings.items()]
        rows = sorted(endings, key=lambda row: (row.finished_at or now, row.pk))
        self.write(rows, ENDING_FIELDS, status=self.model.Status.RUNNING)
        Attempt.objects.using(self.write_alias).bulk_create(
            [attempt for attempt in made if attempt is not None]
        )
        ended = [row for row in rows if row.finished]
        TaskState.objects.using(self.write_alias).note_all(ended, states)
        return rows


STATES_OF_HELD = Prepared(EndingQuerySet.states_of_held, "workers", "ids")
HELD_TO_END = Prepared(EndingQuerySet.held_to_end, "workers", "ids")
