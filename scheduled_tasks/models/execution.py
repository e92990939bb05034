"""One occurrence of a task: for a slot, or because a person or code asked for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.models.execution_queries import (
    DEAD,
    UNCOMMON,
    UNFINISHED,
    ExecutionQuerySet,
)
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.runtime import statuses
from scheduled_tasks.runtime.runs import Run

if TYPE_CHECKING:
    from scheduled_tasks.models.task import Task


@dataclass(frozen=True, slots=True)
class FirstStart:
    """How late the first attempt for a slot began, and when it ended.

    It is late by the time since the moment from which it might run: the slot, or after the jitter.
    """

    lateness_ms: int
    ended_at: datetime


class Execution(models.Model):
    """One occurrence of a task. ``attempt`` is the fencing token: each claim adds one."""

    Status = statuses.Status
    Trigger = statuses.Trigger

    task = models.ForeignKey(
        "scheduled_tasks.Task",
        on_delete=models.SET_NULL,
        null=True,
        related_name="executions",
        # Several indexes below begin with the task.
        db_index=False,
        verbose_name=_("task"),
    )
    task_name = models.CharField(_("task name"), max_length=100)
    handler = models.CharField(_("handler"), max_length=200)
    queue = models.CharField(_("queue"), max_length=100, default="default")
    # Null for what a person or code asked for.
    slot = models.DateTimeField(_("slot"), null=True)
    scheduled_for = models.DateTimeField(_("scheduled for"))
    slots = models.PositiveIntegerField(_("slots"), default=1)
    slot_until = models.DateTimeField(_("slots until"), null=True)
    requeue_of = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        # Few rows have one, so a partial index below serves.
        db_index=False,
        verbose_name=_("requeue of"),
    )
    trigger = models.CharField(_("trigger"), max_length=10, choices=Trigger.choices)
    triggered_by = models.CharField(_("triggered by"), max_length=200, blank=True)
    status = models.CharField(
        _("status"), max_length=10, choices=Status.choices, default=Status.QUEUED
    )
    priority = models.IntegerField(_("priority"), default=0)
    run_after = models.DateTimeField(_("run after"))
    payload = models.JSONField(_("payload"), default=dict)
    test_mode = models.BooleanField(_("test mode"), default=False)
    attempt = models.PositiveIntegerField(_("attempt"), default=0)
    failures = models.PositiveIntegerField(_("failures"), default=0)
    losses = models.PositiveIntegerField(_("lost workers"), default=0)
    # Set while the execution is a suspect: a run of its task was lost with its worker.
    probation_seconds = models.PositiveIntegerField(_("probation in seconds"), null=True)
    # The host on which it runs as a suspect with nothing next to it; empty otherwise.
    alone_on = models.CharField(_("runs alone on"), max_length=255, blank=True)
    # Whether it is on record when the handler is called, and that has not come yet.
    begin_awaited = models.BooleanField(_("begin awaited"), default=False)
    # No foreign key: rows of workers are deleted a day after they are gone.
    worker = models.CharField(_("worker id"), max_length=36, blank=True)
    worker_label = models.CharField(_("worker"), max_length=200, blank=True)
    # The task's id while a run has to be alone, null otherwise, so the column can be unique.
    exclusive = models.BigIntegerField(_("exclusive"), null=True, unique=True)
    created_at = models.DateTimeField(_("created at"))
    claimed_at = models.DateTimeField(_("claimed at"), null=True)
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    duration_ms = models.PositiveBigIntegerField(_("duration"), null=True)
    progress = models.JSONField(_("progress"), null=True)
    checkpoint = models.JSONField(_("checkpoint"), null=True)
    processed_count = models.PositiveBigIntegerField(_("processed"), default=0)
    error_count = models.PositiveBigIntegerField(_("errors"), default=0)
    message_count = models.PositiveBigIntegerField(_("messages"), default=0)
    log_count = models.PositiveBigIntegerField(_("log lines"), default=0)
    result = models.JSONField(_("result"), null=True)
    reason = models.TextField(_("reason"), blank=True)
    error_category = models.CharField(_("error category"), max_length=20, blank=True)
    error = models.TextField(_("error"), blank=True)
    traceback = models.TextField(_("traceback"), blank=True)
    error_fingerprint = models.CharField(_("error fingerprint"), max_length=32, blank=True)
    peak_memory_mb = models.PositiveIntegerField(_("peak memory in MB"), null=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True)
    resolved_at = models.DateTimeField(_("resolved at"), null=True)
    resolution = models.TextField(_("resolution"), blank=True)
    resolved_by = models.CharField(_("resolved by"), max_length=200, blank=True)

    objects = ExecutionQuerySet.as_manager()

    #: Who is told of its end, as its task says, where the query that has read the row asked for it.
    heartbeat_url: str | None = None
    notify_on: list[str] | None = None
    #: Fields of a Run that tell how earlier runs of the task went; a claim sets them.
    run_history: Mapping[str, Any] = MappingProxyType({})
    #: How the first attempt for its slot began; the ending of that attempt sets it.
    first_start: FirstStart | None = None

    #: The columns that copy the task as it was, and the columns of the task that they copy.
    SNAPSHOTS = {
        "task_name": "name",
        "handler": "handler",
        "queue": "queue",
        "priority": "priority",
        "payload": "payload",
    }
    #: The columns that a claim reads, to decide whether a row may run and to hand it over.
    READ_TO_CLAIM = (
        "task_name",
        "handler",
        "scheduled_for",
        "trigger",
        "triggered_by",
        "status",
        "run_after",
        "payload",
        "test_mode",
        "checkpoint",
        "processed_count",
        "error_count",
        "message_count",
        "log_count",
        "attempt",
        "losses",
        "probation_seconds",
        "worker",
        "claimed_at",
        "task__name",
        "task__enabled",
        "task__schedule",
        *(f"task__{name}" for name in Policies.READ_TO_CLAIM),
    )
    #: The columns that an ending reads, to decide what follows and to report it.
    READ_TO_END = (
        "task",
        "task_name",
        "handler",
        "status",
        "test_mode",
        "attempt",
        "failures",
        "losses",
        "probation_seconds",
        "alone_on",
        "begin_awaited",
        "trigger",
        "run_after",
        "processed_count",
        "error_count",
        "reason",
        "worker",
        "worker_label",
        "claimed_at",
        "cancel_requested_at",
    )

    #: The columns of its task that an ending reads with it.
    READ_OF_TASK_TO_END = ("heartbeat_url", "notify_on")

    class Meta:
        """The unique slot makes a double run impossible; locks only make a conflict rare.

        Each index costs every row, three times in its life, so most hold only the rows that they
        are for.
        """

        verbose_name = _("execution")
        verbose_name_plural = _("executions")
        ordering = ("-pk",)
        default_permissions = ("view", "delete")
        constraints = (
            # NULLs never conflict: what has no slot, or no task any more, is not limited.
            models.UniqueConstraint(fields=["task", "slot"], name="scheduled_tasks_one_per_slot"),
            # All workers of one host may die together, in one container: one suspect at a time.
            models.UniqueConstraint(
                fields=["alone_on"],
                name="scheduled_tasks_one_suspect_per_host",
                condition=~models.Q(alone_on=""),
            ),
            # A finished row that still excludes others would make every claim of its task fail.
            models.CheckConstraint(
                condition=models.Q(exclusive=None) | models.Q(status="running"),
                name="scheduled_tasks_only_running_excludes",
            ),
        )
        indexes = (
            # For the pages of the history: of a task, by status, by date, and of deleted tasks.
            models.Index(fields=["task", "-id"], name="scheduled_tasks_history"),
            models.Index(
                fields=["status", "-id"], name="scheduled_tasks_status", condition=UNCOMMON
            ),
            models.Index(
                fields=["task", "status", "-id"],
                name="scheduled_tasks_task_status",
                condition=UNCOMMON,
            ),
            models.Index(fields=["scheduled_for"], name="scheduled_tasks_scheduled"),
            models.Index(
                fields=["task_name", "-id"],
                name="scheduled_tasks_deleted_task",
                condition=models.Q(task__isnull=True),
            ),
            models.Index(
                fields=["error_fingerprint", "-id"],
                name="scheduled_tasks_fingerprint",
                condition=DEAD,
            ),
            models.Index(
                fields=["requeue_of"],
                name="scheduled_tasks_requeued",
                condition=models.Q(requeue_of__isnull=False),
            ),
            models.Index(
                # Claims read in this order, and stop at the first rows that they may have.
                fields=["-priority", "id"],
                name="scheduled_tasks_queued",
                condition=models.Q(status="queued"),
            ),
            models.Index(
                # For the look ahead, which asks for the earliest only.
                fields=["run_after"],
                name="scheduled_tasks_waiting",
                condition=models.Q(status="queued"),
            ),
            models.Index(
                # For the tick, which asks each time what of this worker was cancelled.
                fields=["worker"],
                name="scheduled_tasks_running",
                condition=models.Q(status="running"),
            ),
            models.Index(
                fields=["task"],
                name="scheduled_tasks_unfinished",
                condition=UNFINISHED,
            ),
            # The newest failures of all causes; the index of fingerprints groups them.
            models.Index(fields=["-id"], name="scheduled_tasks_dead", condition=DEAD),
        )

    def __str__(self) -> str:
        return f"{self.task_name} #{self.pk}"

    @classmethod
    def for_task(
        cls,
        task: Task,
        *,
        trigger: str,
        now: datetime,
        slot: datetime | None = None,
        payload: dict[str, Any] | None = None,
        triggered_by: str = "",
        test_mode: bool = False,
    ) -> Execution:
        """Build a queued execution of a task as it is defined now; the caller saves it."""
        row = cls(
            task=task,
            **{name: getattr(task, of) for name, of in cls.SNAPSHOTS.items()},
            trigger=trigger,
            triggered_by=triggered_by,
            test_mode=test_mode,
            slot=slot,
            scheduled_for=slot or now,
            run_after=slot or now,
            created_at=now,
        )
        if payload is not None:
            row.payload = payload
        return row

    def check_payload(self, payload: Any = None) -> None:
        """Check that its handler accepts its payload, or the given one.

        Raise UnknownHandler or InvalidPayload.
        """
        registry.get(self.handler).spec.clean(self.payload if payload is None else payload)

    @property
    def succeeded(self) -> bool:
        """Whether it succeeded, at least in part."""
        return self.status in statuses.SUCCEEDED

    @property
    def finished(self) -> bool:
        """Whether its status is final."""
        return self.status in statuses.FINISHED

    @property
    def may_be_cancelled(self) -> bool:
        """Whether it is unfinished, and has not been asked to stop."""
        return not self.finished and self.cancel_requested_at is None

    @property
    def dead(self) -> bool:
        """Whether it is a dead letter, as ``dead()`` finds it."""
        return all(getattr(self, name) == value for name, value in statuses.DEAD_LETTER.items())

    @property
    def may_be_requeued(self) -> bool:
        """Whether it is a dead letter whose task still exists."""
        return self.dead and self.task_id is not None

    @property
    def of_slot(self) -> bool:
        """Whether the schedule asked for it, not a person."""
        return self.trigger in statuses.OF_SLOTS

    @property
    def may_overlap(self) -> bool:
        """Whether it may run at the same time as others of its task."""
        return self.task is None or self.task.may_overlap

    @property
    def is_suspect(self) -> bool:
        """Whether it may have ended its worker, and so has to run apart from others."""
        return self.probation_seconds is not None

    @property
    def awaits_begin(self) -> bool:
        """Whether the next attempt has to be on record before its handler is called."""
        return self.is_suspect or (self.task is not None and self.task.started_once)

    def is_paused(self, now: datetime) -> bool:
        """Whether it has to wait for the end of its task's pause."""
        return self.task is not None and self.of_slot and self.task.is_paused(now)

    @property
    def guard(self) -> dict[str, Any]:
        """The values that the row keeps until another worker claims it or takes it back."""
        return {"id": self.pk, "attempt": self.attempt, "worker": self.worker}

    def as_run(self) -> Run:
        """Return what an executor needs to run the claimed attempt."""
        return Run(
            execution_id=self.pk,
            attempt=self.attempt,
            begin_awaited=self.begin_awaited,
            task_name=self.task_name,
            handler=self.handler,
            scheduled_for=self.scheduled_for,
            trigger=self.trigger,
            triggered_by=self.triggered_by,
            payload=self.payload,
            test_mode=self.test_mode,
            checkpoint=self.checkpoint,
            processed_count=self.processed_count,
            error_count=self.error_count,
            message_count=self.message_count,
            log_count=self.log_count,
            **(self.task.run_options if self.task else {}),
            **self.run_history,
        )
