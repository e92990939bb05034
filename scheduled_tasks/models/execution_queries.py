"""Sets of executions by status, holder and task."""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Self

from django.db import models

from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import LockingQuerySet
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet
from scheduled_tasks.runtime import statuses

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution  # noqa: F401 -- the base names it


def status_in(*statuses: str) -> models.Q:
    """Return the condition of having one of these statuses, as partial indexes need it.

    SQLite uses a partial index on several statuses only if its condition is written with OR.
    """
    return functools.reduce(operator.or_, (models.Q(status=str(status)) for status in statuses))


UNFINISHED = status_in(*statuses.UNFINISHED)
#: Successes are found soon without an index, and an entry for each would slow down all runs.
UNCOMMON = status_in(*(one for one in statuses.FINISHED if one != statuses.Status.SUCCESS))
DEAD = models.Q(**statuses.DEAD_LETTER)


class ExecutionQuerySet(LockingQuerySet["Execution"]):
    """Filters only. What moves an execution from one status to another is in ``lifecycle``."""

    def queued(self) -> Self:
        """Keep what waits for a worker."""
        return self.filter(status=self.model.Status.QUEUED)

    def running(self) -> Self:
        """Keep what a worker has claimed and not ended."""
        return self.filter(status=self.model.Status.RUNNING)

    def finished(self) -> Self:
        """Keep what has a final status."""
        return self.filter(status__in=statuses.FINISHED)

    def unfinished(self) -> Self:
        """Keep what is queued or running."""
        return self.filter(UNFINISHED)

    def dead(self) -> Self:
        """Keep the dead letters: failed, unresolved, and not in test mode."""
        return self.filter(DEAD)

    def of_deleted_task(self, name: str) -> Self:
        """Keep the executions of deleted tasks of this name."""
        return self.filter(task__isnull=True, task_name=name)

    def of_slots(self) -> Self:
        """Keep what the schedule asked for, not a person."""
        return self.filter(trigger__in=statuses.OF_SLOTS)

    def held_by(self, *workers: str) -> Self:
        """Keep what the workers of these ids have claimed and not ended."""
        return self.held(workers=workers)

    def held(self, *, workers: Collection[str], ids: Collection[int] | None = None) -> Self:
        """Keep what workers have claimed and not ended, of all executions or of these ids."""
        held = self.running().filter(AnyOf("worker", workers))
        return held if ids is None else held.filter(AnyOf("pk", ids))

    def waiting_for(self, *, handlers: Collection[str], queues: Collection[str] = ()) -> Self:
        """Keep what waits for a worker with these handlers and queues (none: every queue)."""
        waiting = self.queued().filter(AnyOf("handler", handlers))
        # Not AnyOf: a worker's queues never change, so they are compiled into its queries.
        return waiting.filter(queue__in=queues) if queues else waiting

    def not_held_back(self, now: datetime) -> Self:
        """Leave out executions held back by a pause or by another execution of their task."""
        # No subquery refers to the row, so the database evaluates each of them once and can read
        # the rows in the order of an index.
        # A NULL among the values would make NOT IN true of no row.
        running = self.model.objects.running().filter(task__isnull=False).order_by()
        alone = running.exclude(task__overlap_policy="allow").values("task")
        paused = TaskState.objects.filter(task__paused_until__gt=now).values("pk")
        of_paused = models.Q(trigger__in=statuses.OF_SLOTS, task__in=paused)
        free = self.filter(models.Q(task=None) | ~models.Q(task__in=alone)).exclude(of_paused)
        return free.not_paused(now)

    def not_paused(self, now: datetime) -> Self:
        """Keep all, or nothing while everything is paused."""
        return self.filter(~models.Exists(Pause.objects.in_force(now)))

    def states(self) -> TaskStateQuerySet:
        """Return the states of the tasks of this set, with what the end of a run reads."""
        states = TaskState.objects.using(self.write_alias).only(*TaskState.READ_TO_COUNT)
        return states.filter(pk__in=self.order_by().values("task_id"))
