"""What changes as a task runs: its next slot and its last results. The engine locks this row."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.policies import Policies
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import LockingQuerySet

#: Why a task is parked whose declaration has disappeared.
UNDECLARED = "No longer declared in code."
#: How the reason begins of a task that is parked until a worker knows its handler.
UNKNOWN_HANDLER = "No worker knows the handler"


class TaskStateQuerySet(LockingQuerySet["TaskState"]):
    def due(self, now: datetime) -> TaskStateQuerySet:
        """Keep the tasks with a slot that has come."""
        return self.filter(next_run_at__lte=now)

    def handled_by(self, handlers: Collection[str]) -> TaskStateQuerySet:
        """Keep the tasks of these handlers."""
        return self.filter(AnyOf("task__handler", handlers))

    def waiting_for_worker(self) -> TaskStateQuerySet:
        """Keep the tasks that are parked until a worker knows their handler."""
        return self.filter(parked_at__isnull=False, parked_reason__startswith=UNKNOWN_HANDLER)

    def stopped(self, now: datetime) -> TaskStateQuerySet:
        """Keep the tasks that may fire and have no clock, although slots may come."""
        over = models.Q(task__ends_at__lte=now)
        over |= models.Q(task__schedule__istartswith="at ", last_slot__isnull=False)
        waiting = self.filter(next_run_at=None, parked_at=None, task__enabled=True)
        return waiting.exclude(over).exclude(task__schedule="")

    def lock_tasks(self, task_ids: Collection[int], *, skip: bool = False) -> dict[int, TaskState]:
        """Lock the states of the given tasks and return them by task id."""
        return self.filter(AnyOf("pk", task_ids)).locked_by_task(skip=skip)

    def locked_by_task(self, *, skip: bool = False) -> dict[int, TaskState]:
        """Lock the states of this set and return them by task id."""
        return {state.pk: state for state in self.locked(skip=skip)}


# Apart from Task, so that a late save of the admin's form rewinds nothing.
class TaskState(models.Model):
    """One row for each task, created and deleted with it.

    ``next_run_at`` is the first undecided slot, and null while the task may not fire: disabled,
    parked, manual, over. ``last_slot`` is the last decided one; ``covering`` is the id of the row
    that covers it, if the next tick may extend that row. ``last_success_at`` is when the last fully
    successful run began: no successful run has seen later changes. Runs in test mode are not
    counted here.
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
    # No foreign key: if the row was deleted, the next tick makes another one.
    covering = models.BigIntegerField(_("covering row"), null=True)
    last_run_at = models.DateTimeField(_("last run"), null=True)
    last_success_at = models.DateTimeField(_("last success"), null=True)
    last_status = models.CharField(_("last status"), max_length=10, blank=True)
    execution_count = models.PositiveBigIntegerField(_("executions"), default=0)
    consecutive_failures = models.PositiveIntegerField(_("failures in a row"), default=0)
    # What new executions begin with: set by a lost run, until a run has ended by itself.
    probation_seconds = models.PositiveIntegerField(_("probation in seconds"), null=True)
    parked_at = models.DateTimeField(_("parked at"), null=True)
    parked_reason = models.TextField(_("reason for parking"), blank=True)
    # Where the clock stood when no worker knew the handler: it goes on from there.
    resume_at = models.DateTimeField(_("resume at"), null=True)

    objects = TaskStateQuerySet.as_manager()

    #: The columns that deciding slots reads.
    READ_TO_FIRE = (
        "next_run_at",
        "last_slot",
        "covering",
        "last_success_at",
        "execution_count",
        "probation_seconds",
        "parked_at",
        "task__name",
        "task__handler",
        "task__payload",
        "task__schedule",
        "task__timezone",
        "task__anchor",
        "task__enabled",
        *(f"task__{name}" for name in Policies.READ_TO_FIRE),
    )
    #: The columns that the end of an execution reads; it sets all the others that it writes.
    READ_TO_COUNT = (
        "last_success_at",
        "execution_count",
        "consecutive_failures",
        "probation_seconds",
    )
    #: The columns that runs are told, as fields of a Run.
    RUN_HISTORY = ("execution_count", "last_success_at")
    #: The columns that the end of an execution writes.
    RESULT_FIELDS = (
        "last_run_at",
        "last_success_at",
        "last_status",
        "execution_count",
        "consecutive_failures",
    )

    class Meta:
        verbose_name = _("task state")
        verbose_name_plural = _("task states")
        indexes = (models.Index(fields=["next_run_at"], name="scheduled_tasks_due"),)

    @property
    def waits_for_worker(self) -> bool:
        """Whether the task is parked until a worker knows its handler."""
        return self.parked_at is not None and self.parked_reason.startswith(UNKNOWN_HANDLER)

    @property
    def run_history(self) -> dict[str, Any]:
        """Return the fields of a Run that tell how earlier runs went."""
        return {name: getattr(self, name) for name in self.RUN_HISTORY}
