"""What moves about a task: when it is due next, and how it went. The row that the engine locks."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.any_of import Among
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.compiled import Prepared
from scheduled_tasks.models.sql.transactions import LockingQuerySet
from scheduled_tasks.models.task_change import BY_ENGINE, TaskChange

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


logger = logging.getLogger(__name__)

#: Why a task is parked whose declaration has disappeared.
UNDECLARED = "No longer declared in code."


@dataclass(frozen=True, slots=True)
class DueSlots:
    """The slots of one task that have come, or the first of them, and the ``next`` after them."""

    slots: list[datetime]
    next: datetime | None


class TaskStateQuerySet(LockingQuerySet["TaskState"]):
    """Sets of task states."""

    def due(self, now: datetime) -> TaskStateQuerySet:
        """Keep the tasks of which a slot has come."""
        return self.filter(next_run_at__lte=now)

    def lock_due(self, now: datetime, *, limit: int) -> list[TaskState]:
        """Lock the states longest due, and their tasks; what others hold of either is left to them.

        So several workers fire side by side. They come in ascending id, though they are not locked
        in that order: what is skipped is not waited for.
        """
        due = LONGEST_DUE.rows(self.all(), now=now, limit=limit)
        return sorted(due, key=lambda state: state.pk)

    def longest_due(self, now: datetime, *, limit: int) -> TaskStateQuerySet:
        """Return a query that locks the states longest due, for what deciding their slots needs.

        Their tasks are locked, too: an execution cannot be inserted while somebody holds its task.
        """
        due = self.due(now).select_related("task").only(*TaskState.READ_TO_FIRE)
        return due.locked(skip=True, also=["task"]).order_by("next_run_at")[:limit]

    def lock_tasks(self, task_ids: Collection[int], *, skip: bool = False) -> dict[int, TaskState]:
        """Lock the states of the given tasks and return them by task id."""
        return self.filter(Among("pk", task_ids)).locked_by_task(skip=skip)

    def locked_by_task(self, *, skip: bool = False) -> dict[int, TaskState]:
        """Lock the states of this set and return them by task id."""
        return {state.pk: state for state in self.locked(skip=skip)}

    def free_to_lock(self, *, tasks: Collection[int]) -> models.QuerySet[TaskState, int]:
        """Return a query that locks those of these tasks' states that nobody holds, for ids."""
        return self.filter(Among("pk", tasks)).locked(skip=True).values_list("pk", flat=True)

    def so_far_of(self, *, tasks: Collection[int]) -> models.QuerySet[TaskState, tuple[Any, ...]]:
        """Return a query for how the runs of tasks went before, behind the task's id."""
        return self.filter(Among("pk", tasks)).values_list("pk", *TaskState.SO_FAR)

    def advance(self, moves: Mapping[TaskState, datetime | None]) -> int:
        """Move ``next_run_at`` of each state on, with what goes with it; return how many moved.

        Compare-and-set: a row that has left its slot meanwhile stays as it is.
        """
        changes = [
            (
                {"next_run_at": new, "last_slot": state.last_slot, "covering": state.covering},
                {"task_id": state.pk, "next_run_at": state.next_run_at},
            )
            for state, new in sorted(moves.items(), key=lambda move: move[0].pk)
        ]
        for state, new in moves.items():
            state.next_run_at = new
        return update_each(TaskState, changes, using=self.write_alias)

    def note_all(self, ended: Iterable[Execution], states: Mapping[int, TaskState]) -> None:
        """Take in, and write, how executions ended on the locked states of their tasks."""
        touched: dict[int, TaskState] = {}
        for row in ended:
            if row.task_id is not None and row.task_id in states and not row.test_mode:
                touched[row.task_id] = states[row.task_id]
                touched[row.task_id].note(row)
        self.write_results(touched.values())

    def write_results(self, states: Iterable[TaskState]) -> None:
        """Write what the ends of executions changed on locked states."""
        changes = (
            (
                {name: getattr(state, name) for name in TaskState.RESULT_FIELDS},
                {"task_id": state.pk},
            )
            for state in states
        )
        update_each(TaskState, changes, using=self.write_alias)

    def next_due(self) -> models.QuerySet[TaskState, datetime | None]:
        """Return a query for the earliest coming slot of all tasks."""
        coming = self.filter(next_run_at__isnull=False).order_by("next_run_at")
        return coming.values_list("next_run_at", flat=True)[:1]


LONGEST_DUE = Prepared(TaskStateQuerySet.longest_due, "now")
FREE_TO_LOCK = Prepared(TaskStateQuerySet.free_to_lock, "tasks")
SO_FAR_OF = Prepared(TaskStateQuerySet.so_far_of, "tasks")
NEXT_DUE = Prepared(TaskStateQuerySet.next_due)


class TaskState(models.Model):
    """One row for each task, made with it and gone with it.

    ``next_run_at`` is the first slot that nobody has decided, and null whenever the task may not
    fire: disabled, parked, manual, over. ``last_slot`` is the last that was decided; ``covering``
    the id of the execution that covers it, where the next look may go on with that row.
    ``last_success_at`` is when the last run began that succeeded, not in part but whole: what has
    changed since then has been seen by none. Runs in test mode leave no trace here.
    """

    task = models.OneToOneField(
        "scheduled_tasks.Task",
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="state",
        verbose_name=_("task"),
    )
    next_run_at = models.DateTimeField(_("next run"), null=True)
    last_slot = models.DateTimeField(_("last slot"), null=True)
    covering = models.BigIntegerField(_("covering row"), null=True)
    last_run_at = models.DateTimeField(_("last run"), null=True)
    last_success_at = models.DateTimeField(_("last success"), null=True)
    last_status = models.CharField(_("last status"), max_length=10, blank=True)
    execution_count = models.PositiveBigIntegerField(_("executions"), default=0)
    consecutive_failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    parked_at = models.DateTimeField(_("parked at"), null=True)
    parked_reason = models.TextField(_("reason for parking"), blank=True)

    objects = TaskStateQuerySet.as_manager()

    #: The columns that deciding slots reads.
    READ_TO_FIRE = (
        "next_run_at",
        "last_slot",
        "covering",
        "last_success_at",
        "execution_count",
        "parked_at",
        "task__name",
        "task__handler",
        "task__queue",
        "task__priority",
        "task__payload",
        "task__schedule",
        "task__timezone",
        "task__anchor",
        "task__enabled",
        "task__starts_at",
        "task__ends_at",
        "task__jitter",
        "task__paused_until",
        "task__pause_reason",
        "task__misfire_policy",
        "task__misfire_grace",
        "task__catch_up_limit",
        "task__overlap_policy",
        "task__executor",
        "task__timeout",
        "task__memory_limit_mb",
    )
    #: The columns that ``note`` reads; it sets all others that the end of an execution writes.
    READ_TO_NOTE = ("last_success_at", "execution_count", "consecutive_failures")
    #: The columns that runs are told, as fields of a Run.
    SO_FAR = ("execution_count", "last_success_at")
    #: The columns that the end of an execution writes.
    RESULT_FIELDS = (
        "last_run_at",
        "last_success_at",
        "last_status",
        "execution_count",
        "consecutive_failures",
    )

    class Meta:
        """One plain index serves the look for due tasks on every database."""

        verbose_name = _("task state")
        verbose_name_plural = _("task states")
        indexes = (models.Index(fields=["next_run_at"], name="scheduled_tasks_due"),)

    def due_slots(self, now: datetime, *, at_most: int) -> DueSlots | None:
        """Return the first slots that have come, None where the task had to be parked instead.

        A task that may not fire, as one switched off by a bulk update, has no slots and no next.
        """
        since = self.next_run_at
        if since is None or not self.task.enabled or self.parked_at is not None:
            return DueSlots([], None)
        slots: list[datetime] = []
        coming: datetime | None = since
        try:
            following = self.task.slots_after(since)
            while coming is not None and coming <= now and len(slots) < at_most:
                slots.append(coming)
                coming = next(following, None)
        except Exception as error:  # one bad row must not stop the others
            logger.exception("parked task=%s", self.task.name)
            self.park(f"Its schedule cannot be followed: {error}", now)
            return None
        return DueSlots(slots, coming)

    def restart(self, now: datetime) -> None:
        """Begin the clock anew: the next slot is the first after now, if the task may fire.

        Never one that was decided already, should the clock of whoever calls be slow.
        """
        task = self.task
        since = max(now, self.last_slot) if self.last_slot else now
        self.covering = None
        try:
            fires = task.enabled and self.parked_at is None
            self.next_run_at = task.next_slot(since) if fires else None
        except Exception as error:  # one bad row must not stop the others
            logger.exception("parked task=%s", task.name)
            self.park(str(error), now)
            return
        self.save(update_fields=["next_run_at", "covering"])

    def park(self, reason: str, now: datetime, *, by: str = BY_ENGINE) -> None:
        """Set the locked task aside: it fires no more until it is unparked, and says why.

        What it has queued for slots ends.
        """
        self.next_run_at = self.covering = None
        self.parked_at = self.parked_at or now
        self.parked_reason = reason
        self.save(update_fields=["next_run_at", "covering", "parked_at", "parked_reason"])
        self.task.executions.withdraw(self, now, reason=reason)
        TaskChange.objects.note(self.task, TaskChange.Action.PARKED, now, by=by, reason=reason)

    def unpark(self, now: datetime, *, by: str = BY_ENGINE) -> None:
        """Take the task back into service, from now on."""
        self.parked_at, self.parked_reason = None, ""
        self.save(update_fields=["parked_at", "parked_reason"])
        TaskChange.objects.note(self.task, TaskChange.Action.UNPARKED, now, by=by)
        self.restart(now)

    @property
    def so_far(self) -> dict[str, Any]:
        """Return the fields of a Run that say how the runs before it went."""
        return {name: getattr(self, name) for name in self.SO_FAR}

    def note(self, execution: Execution) -> None:
        """Take in how an execution ended; the caller saves RESULT_FIELDS of many at once."""
        self.last_run_at = execution.started_at
        self.last_status = execution.status
        self.execution_count += 1
        if execution.succeeded:
            self.consecutive_failures = 0
            if execution.status == execution.Status.SUCCESS and execution.started_at is not None:
                known = self.last_success_at or execution.started_at
                self.last_success_at = max(known, execution.started_at)
        elif execution.status == execution.Status.FAILED:
            self.consecutive_failures += 1
