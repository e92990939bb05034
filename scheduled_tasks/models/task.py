"""The definition of a task: what runs, when, and by which policies."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models, router, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.exceptions import (
    ErrorsByField,
    InvalidHandler,
    InvalidPayload,
    InvalidSchedule,
    InvalidTask,
    ScheduledTasksError,
    UnknownHandler,
)
from scheduled_tasks.models.state import TaskState
from scheduled_tasks.registry import registry
from scheduled_tasks.schedules import Interval, Schedule, parse, zone

#: Why a task is parked whose declaration has disappeared.
UNDECLARED = "Code no longer declares it."


NAME = re.compile(r"\A[a-z0-9][a-z0-9_.-]{0,99}\Z")


def project_timezone() -> str:
    """Return the project's TIME_ZONE, the zone of tasks that name none."""
    return str(settings.TIME_ZONE)


class Task(models.Model):
    """A definition. The engine reads it and never writes it; what moves lives in TaskState."""

    class Origin(models.TextChoices):
        """Where a task comes from."""

        CODE = "code", _("code")
        ADMIN = "admin", _("admin")
        API = "api", _("API")

    class MisfirePolicy(models.TextChoices):
        """What happens to slots that could not be fired in time."""

        ALL = "all", _("run every slot")

    class OverlapPolicy(models.TextChoices):
        """What happens to a slot while an earlier execution of the task still runs."""

        ALLOW = "allow", _("run beside it")

    class OnLost(models.TextChoices):
        """What happens to an execution whose worker was lost."""

        RETRY = "retry", _("run it again")
        FAIL = "fail", _("fail it")

    class Executor(models.TextChoices):
        """Where the executions of a task run."""

        PROCESS = "process", _("a process of its own")
        THREAD = "thread", _("a thread of the worker")

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        validators=[
            RegexValidator(
                NAME.pattern,
                _("Use small letters, digits, '_', '.' and '-', and begin with a letter or digit."),
            )
        ],
    )
    handler = models.CharField(
        _("handler"), max_length=200, help_text=_("The registered function that is called.")
    )
    schedule = models.CharField(
        _("schedule"),
        max_length=255,
        blank=True,
        help_text=_(
            "Cron (0 2 * * *), an interval (every 15 minutes) or a moment (at 2030-01-01 09:00). "
            "Empty: only run by hand."
        ),
    )
    timezone = models.CharField(_("time zone"), max_length=64, default=project_timezone)
    anchor = models.DateTimeField(
        _("anchor"),
        null=True,
        blank=True,
        help_text=_("An interval counts from here; by default from when it was set."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    payload = models.JSONField(
        _("payload"),
        default=dict,
        blank=True,
        help_text=_("Keyword arguments of every run, as a JSON object."),
    )
    description = models.TextField(_("description"), blank=True)
    category = models.CharField(_("category"), max_length=100, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    origin = models.CharField(
        _("origin"), max_length=10, choices=Origin.choices, default=Origin.ADMIN, editable=False
    )
    declared = models.JSONField(_("declared"), null=True, blank=True, editable=False)

    misfire_policy = models.CharField(
        _("misfire policy"),
        max_length=20,
        choices=MisfirePolicy.choices,
        default=MisfirePolicy.ALL,
    )
    misfire_grace = models.PositiveIntegerField(_("misfire grace"), null=True, blank=True)
    catch_up_limit = models.PositiveIntegerField(
        _("catch-up limit"), default=100, validators=[MinValueValidator(1)]
    )
    overlap_policy = models.CharField(
        _("overlap policy"),
        max_length=20,
        choices=OverlapPolicy.choices,
        default=OverlapPolicy.ALLOW,
    )
    max_retries = models.PositiveIntegerField(_("retries"), default=0)
    retry_delay = models.PositiveIntegerField(_("retry delay"), default=1)
    retry_backoff = models.FloatField(_("retry backoff"), default=2.0)
    retry_max_delay = models.PositiveIntegerField(_("longest retry delay"), default=3600)
    timeout = models.PositiveIntegerField(
        _("timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Seconds; then the run is asked to stop, and killed if it does not."),
    )
    memory_limit_mb = models.PositiveIntegerField(
        _("memory limit in MB"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "What the run and its child processes may use above what it started with; a run that "
            "uses more is killed."
        ),
    )
    on_lost = models.CharField(
        _("when its worker is lost"), max_length=10, choices=OnLost.choices, default=OnLost.RETRY
    )
    max_losses = models.PositiveIntegerField(_("most losses"), default=3)
    executor = models.CharField(
        _("executor"),
        max_length=20,
        blank=True,
        choices=[("", _("the worker's choice")), *Executor.choices],
        help_text=_("Where its executions run. A thread can be asked to stop, but not killed."),
    )
    queue = models.CharField(_("queue"), max_length=100, default="default")
    priority = models.IntegerField(
        _("priority"), default=0, help_text=_("Higher runs first among what waits.")
    )
    jitter = models.PositiveIntegerField(_("jitter"), default=0)

    starts_at = models.DateTimeField(_("starts at"), null=True, blank=True)
    ends_at = models.DateTimeField(_("ends at"), null=True, blank=True)
    paused_until = models.DateTimeField(_("paused until"), null=True, blank=True)
    pause_reason = models.CharField(_("pause reason"), max_length=255, blank=True)

    heartbeat_url = models.URLField(_("heartbeat URL"), blank=True)
    expected_duration = models.PositiveIntegerField(_("expected duration"), null=True, blank=True)
    alert_after_failures = models.PositiveIntegerField(_("alert after failures"), default=1)
    retention_days = models.PositiveIntegerField(_("retention in days"), null=True, blank=True)

    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects: ClassVar[models.Manager[Task]] = models.Manager()

    #: What the next slot depends on: a change of any of these restarts the clock.
    CLOCK_FIELDS = ("schedule", "timezone", "anchor", "enabled")

    #: The fields that a declaration sets; ``enabled`` besides, but only when the row is made.
    DECLARED_FIELDS = (
        "handler",
        "schedule",
        "timezone",
        "payload",
        "description",
        "category",
        "metadata",
        "queue",
        "priority",
        "timeout",
        "memory_limit_mb",
        "on_lost",
        "max_losses",
        "executor",
    )

    state: TaskState

    class Meta:
        """Tasks are listed by name; running one is a permission of its own."""

        ordering = ("name",)
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        permissions = (("run_task", "Can run task now"),)

    def __str__(self) -> str:
        """Return the name."""
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the definition and, in the same transaction, the clock that follows from it.

        A change of schedule, zone, anchor or ``enabled`` restarts the clock from now, so it never
        fires at once. An interval that is new counts from now. A parked task whose trouble is
        mended goes back into service.
        """
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        now = timezone.now()
        with transaction.atomic(using=using):
            self.lock_state(using)
            before = type(self).objects.using(using).filter(pk=self.pk).first()
            self.set_anchor(before, now)
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "anchor", "updated_at"}
            super().save(*args, **kwargs)
            state, created = TaskState.objects.using(using).get_or_create(task=self)
            self.state = state
            if state.parked_at and state.parked_reason != UNDECLARED and not self.problem():
                state.unpark(now)
            elif created or self.clock_differs(before):
                state.restart(now)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete the definition; its executions stay, under its name."""
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            self.lock_state(using)
            return super().delete(*args, **kwargs)

    def clean(self) -> None:
        """Refuse what could never run, field by field."""
        super().clean()
        errors: dict[str, list[str]] = {}
        field = "timezone"
        try:
            zone(self.timezone)
            field = "schedule"
            value = self.parse_schedule()
            self.schedule = value.text if value else ""
        except InvalidSchedule as error:
            errors[field] = [str(error)]
        try:
            handler = registry.get(self.handler)
            self.handler = handler.key
            handler.spec.clean(self.payload, complete=bool(self.schedule))
        except (UnknownHandler, InvalidHandler) as error:
            errors["handler"] = [str(error)]
        except InvalidPayload as error:
            errors["payload"] = [f"{field}: {' '.join(s)}" for field, s in error.errors.items()]
        if not isinstance(self.metadata, dict):
            errors["metadata"] = [str(_("Enter a JSON object."))]
        if errors:
            raise ValidationError(errors)

    def lock_state(self, using: str) -> None:
        """Lock the state row, first of all rows as in every transaction of the engine."""
        TaskState.objects.using(using).filter(pk=self.pk).locked().first()

    def set_anchor(self, before: Task | None, now: datetime) -> None:
        """Give an interval that is new its phase: it counts from now.

        A row whose schedule is not being changed is not looked at, so that one that became bad
        can still be disabled.
        """
        if before and not self.clock_differs(before, but="enabled"):
            return
        if before and before.schedule != self.schedule and before.anchor == self.anchor:
            self.anchor = None
        if self.anchor is None and isinstance(self.parse_schedule(), Interval):
            self.anchor = now.replace(microsecond=0)

    def clock_differs(self, before: Task | None, *, but: str = "") -> bool:
        """Say whether fields that the next slot depends on, but one, differ from a saved row's."""
        return before is None or any(
            getattr(self, name) != getattr(before, name)
            for name in self.CLOCK_FIELDS
            if name != but
        )

    def validate(self) -> None:
        """Check the whole definition. Raise InvalidTask with the reasons by field."""
        try:
            self.full_clean()
        except ValidationError as error:
            raise InvalidTask(error.message_dict) from None

    def switch(self, *, enabled: bool) -> Task:
        """Enable or disable, with the clock, and return self."""
        self.enabled = enabled
        self.save(update_fields=["enabled"])
        return self

    def reset_to_code(self) -> None:
        """Take back what people changed of a declared task; ``enabled`` stays theirs."""
        declared = self.declared or {}
        for name in self.changed_from_code:
            setattr(self, name, declared[name])
        self.save()

    def parse_schedule(self) -> Schedule | None:
        """Return the schedule as a value, None for manual only. Raise InvalidSchedule."""
        return parse(self.schedule, self.timezone, anchor=self.anchor)

    def next_slot(self, after: datetime) -> datetime | None:
        """Return the first slot strictly after a moment, None if none will come."""
        schedule = self.parse_schedule()
        return schedule.next_after(after) if schedule else None

    def problem(self) -> str:
        """Say in a sentence why this task cannot run here, "" if it can."""
        try:
            self.parse_schedule()
            registry.get(self.handler).spec.clean(self.payload, complete=bool(self.schedule))
        except ErrorsByField as error:
            return f"Its payload is not what {self.handler} takes: {error}"
        except ScheduledTasksError as error:
            return str(error)
        return ""

    def describe_schedule(self) -> str:
        """Return the schedule in English, also of a row that became bad."""
        try:
            schedule = self.parse_schedule()
        except InvalidSchedule:
            return f"not understood: {self.schedule}"
        return schedule.describe() if schedule else "Only by hand"

    @property
    def declared_in_code(self) -> bool:
        """Say whether code declares this task still; then it can be disabled, not deleted."""
        gone = hasattr(self, "state") and self.state.parked_reason == UNDECLARED
        return self.origin == self.Origin.CODE and not gone

    @property
    def changed_from_code(self) -> list[str]:
        """Return the fields in which a person made this task differ from its declaration."""
        declared = self.declared or {}
        return [
            name
            for name in self.DECLARED_FIELDS
            if name in declared and getattr(self, name) != declared[name]
        ]
