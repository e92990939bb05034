"""Which executions wait, run, or are held, and by whom."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from django.db import models

from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.sql.any_of import Among
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.compiled import Prepared, first_values
from scheduled_tasks.models.sql.transactions import LockingQuerySet, LostRaceError
from scheduled_tasks.models.task_state import NEXT_DUE, TaskState, TaskStateQuerySet
from scheduled_tasks.runtime.messages import Envelope
from scheduled_tasks.runtime.runs import Ending

if TYPE_CHECKING:
    from scheduled_tasks.lifecycle.capacity import Places
    from scheduled_tasks.models.execution import Execution

#: An execution's id and one of its attempts: who may speak for it, and end it.
Claim = tuple[int, int]


class ExecutionSets(LockingQuerySet["Execution"]):
    """Sets of executions by where they stand."""

    def queued(self) -> Self:
        """Keep what waits for a worker."""
        return self.filter(status=self.model.Status.QUEUED)

    def running(self) -> Self:
        """Keep what a worker has claimed and not ended."""
        return self.filter(status=self.model.Status.RUNNING)

    def unfinished(self) -> Self:
        """Keep what is queued or running."""
        return self.filter(status__in=self.model.UNFINISHED)

    def dead(self) -> Self:
        """Keep what failed for good and nobody has resolved yet, but for runs in test mode."""
        return self.filter(
            status=self.model.Status.FAILED, resolved_at__isnull=True, test_mode=False
        )

    def of_slots(self) -> Self:
        """Keep what the schedule asked for, not a person."""
        return self.filter(trigger__in=self.model.OF_SLOTS)

    def held_by(self, *workers: str) -> Self:
        """Keep what the workers of these ids have claimed and not ended."""
        return self.held(workers=workers)

    def held(self, *, workers: Collection[str], ids: Collection[int] | None = None) -> Self:
        """Keep what workers have claimed and not ended, of all or of these ids."""
        held = self.running().filter(Among("worker", workers))
        return held if ids is None else held.filter(Among("pk", ids))

    def waiting_for(self, *, handlers: Collection[str], queues: Collection[str] = ()) -> Self:
        """Keep what waits for a worker with these handlers and queues (none: every queue)."""
        waiting = self.queued().filter(Among("handler", handlers))
        return waiting.filter(queue__in=queues) if queues else waiting

    def not_held_back(self, now: datetime) -> Self:
        """Keep what neither a pause nor another execution of its task keeps from running.

        No subquery looks at the row, so that the database makes each of them once, and the rows
        can be read in the order of an index.
        """
        running = self.model.objects.running().filter(task__isnull=False).order_by()
        alone = running.exclude(task__overlap_policy="allow").values("task")
        paused = TaskState.objects.filter(task__paused_until__gt=now).values("pk")
        of_paused = models.Q(trigger__in=self.model.OF_SLOTS, task__in=paused)
        free = self.filter(models.Q(task=None) | ~models.Q(task__in=alone)).exclude(of_paused)
        return free.not_paused(now)

    def not_paused(self, now: datetime) -> Self:
        """Keep all, or nothing while everything is paused."""
        return self.filter(~models.Exists(Pause.objects.in_force(now)))

    def coming(self, **waiting: Any) -> tuple[datetime | None, datetime | None]:
        """Return when the next slot comes, and when the next execution may be claimed.

        ``waiting`` is what ``next_waiting`` takes; None stands for never.
        """
        using = self.write_alias
        slot = NEXT_DUE.about(TaskState.objects.using(using))
        return first_values(slot, NEXT_WAITING.about(self.using(using), **waiting))

    def past_held_back(
        self, run: datetime | None, now: datetime, places: Places
    ) -> datetime | None:
        """Return ``run``, when the next execution may be claimed for these places.

        Where what is held back was looked at before, another one's moment may take its place.
        """
        if run is None or run > now or not places.past_held_back:
            return run
        every = self.using(self.write_alias)
        return NEXT_WAITING.about(every, **places.serves, free_at=now).first

    def next_waiting(
        self,
        *,
        handlers: Collection[str],
        queues: Collection[str],
        free_at: datetime | None = None,
    ) -> models.QuerySet[Execution, datetime]:
        """Return a query for the moment at which such a worker may claim the first execution.

        What is held back does not count if it is asked what is ``free_at`` a moment.
        """
        waiting = self.waiting_for(handlers=handlers, queues=queues)
        free = waiting if free_at is None else waiting.not_held_back(free_at)
        return free.order_by("run_after").values_list("run_after", flat=True)[:1]

    def lock_free(self) -> set[int | None]:
        """Lock what nobody else holds of this set; return the tasks of what somebody does."""
        mine = list(self.locked(skip=True).values_list("pk", flat=True))
        return set(self.exclude(pk__in=mine).order_by().values_list("task_id", flat=True))

    def lock_states(self) -> None:
        """Lock the states of the tasks of this set."""
        list(self.states().locked())

    def states(self) -> TaskStateQuerySet:
        """Return the states of the tasks of this set."""
        states = TaskState.objects.using(self.write_alias).only(*TaskState.READ_TO_NOTE)
        return states.filter(pk__in=self.order_by().values("task_id"))

    def write(self, rows: Iterable[Execution], fields: Sequence[str], *, status: str) -> None:
        """Write columns of rows, guarded by the attempt and status that they had when read.

        Raise LostRaceError, so that the transaction is begun anew, if one of them has moved on.
        """
        changes = [
            ({name: getattr(row, name) for name in fields}, row.guard | {"status": status})
            for row in sorted(rows, key=lambda row: row.pk)
        ]
        if update_each(self.model, changes, using=self.write_alias) != len(changes):
            raise LostRaceError("Somebody else moved an execution meanwhile.")


NEXT_WAITING = Prepared(ExecutionSets.next_waiting, "handlers", "free_at")


def claim_of(said: Ending | Envelope) -> Claim:
    """Return the claim under which a worker says something of an execution."""
    return said.execution_id, said.attempt
