"""The definition of a task: what runs, when, and by which policies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, TypeGuard

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models, router
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
from scheduled_tasks.handlers.payloads.json_values import same
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.handlers.retries import fraction
from scheduled_tasks.models.policies import MAX_JITTER_SECONDS, Policies
from scheduled_tasks.models.storable import flaw_of_json, flaws_of_fields
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.models.task_state import UNDECLARED, TaskState
from scheduled_tasks.models.validators import flaw_of_recipients, refuse_unshowable, with_advice
from scheduled_tasks.schedules import Schedule, parse, zone

MICROSECOND = timedelta(microseconds=1)
NAME = re.compile(r"\A[a-z0-9][a-z0-9_.-]{0,99}\Z")
#: Checked here: Django's own check fails on deep and on huge values.
JSON_FIELDS = frozenset({"payload", "metadata", "declared"})


def is_name(name: object) -> TypeGuard[str]:
    """Whether a task can have this name."""
    return isinstance(name, str) and NAME.match(name) is not None


def project_timezone() -> str:
    """Return the project's TIME_ZONE, the zone of tasks that name none."""
    return str(settings.TIME_ZONE)


class Task(Policies):
    """A definition. The engine only reads it; what changes while it runs is in TaskState."""

    class Origin(models.TextChoices):
        """Where a task comes from."""

        CODE = "code", _("code")
        ADMIN = "admin", _("admin")
        API = "api", _("API")

    name = models.CharField(
        _("name"),
        max_length=100,
        unique=True,
        validators=[
            RegexValidator(
                NAME.pattern,
                _("Use lowercase letters, digits, '_', '.' and '-'. Start with a letter or digit."),
            )
        ],
    )
    handler = models.CharField(_("handler"), max_length=200, help_text=_("The function to run."))
    schedule = models.CharField(
        _("schedule"),
        max_length=255,
        blank=True,
        help_text=_(
            "A cron expression (0 2 * * *, or 0 9 * * MON#1 for the first Monday of the month), an "
            "interval (every 15 minutes) or a date and time (at 2030-01-01 09:00). Leave empty "
            "to run the task manually only."
        ),
    )
    timezone = models.CharField(_("time zone"), max_length=64, default=project_timezone)
    anchor = models.DateTimeField(
        _("anchor"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("Start of the first interval. By default, the time when the interval was set."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    payload = models.JSONField(
        _("payload"),
        default=dict,
        blank=True,
        help_text=_("Keyword arguments for each run, as a JSON object."),
    )
    description = models.TextField(_("description"), blank=True)
    category = models.CharField(_("category"), max_length=100, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    origin = models.CharField(
        _("origin"), max_length=10, choices=Origin.choices, default=Origin.ADMIN, editable=False
    )
    declared = models.JSONField(_("declared"), null=True, blank=True, editable=False)

    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects: ClassVar[models.Manager[Task]] = models.Manager()

    #: What the slots follow from.
    SLOT_FIELDS = ("schedule", "timezone", "anchor", "starts_at", "ends_at")
    #: What the next slot depends on: a change of any of these restarts the clock.
    CLOCK_FIELDS = (*SLOT_FIELDS, "enabled")

    #: The fields that a declaration sets; ``enabled`` besides, but only when the row is made.
    DECLARED_FIELDS = (
        "handler",
        "schedule",
        "timezone",
        "payload",
        "description",
        "category",
        "metadata",
        *Policies.DECLARED_FIELDS,
    )

    state: TaskState

    class Meta:
        ordering = ("name",)
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        permissions = (("run_task", "Can run task now"),)
        # Workers look for the tasks that are paused now.
        indexes = (models.Index(fields=["paused_until"], name="scheduled_tasks_paused"),)

    def __str__(self) -> str:
        return self.name

    def save(
        self,
        *args: Any,
        now: datetime | None = None,
        by: str = BY_CODE,
        anchor_given: bool = False,
        **kwargs: Any,
    ) -> None:
        """Save the definition, and what follows from it, in one transaction.

        Slots that have come before ``now`` (the present moment) are decided by the definition as it
        was. A change of schedule, zone, anchor, window or ``enabled`` restarts the clock from now,
        so it never fires at once. A new interval counts from now, unless the anchor changed, or
        ``anchor_given`` keeps it. Disabling a task ends the queued executions of its slots. A
        parked task is unparked once its problem is fixed. ``by`` is recorded as the author of the
        change. Raise UnknownTask if the task was deleted since it was read.
        """
        # The one import of a lifecycle module by a model: whatever saves a task, what follows from
        # it is written in the same transaction.
        from scheduled_tasks.lifecycle.editing import save_task  # noqa: PLC0415

        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        given = kwargs.get("update_fields")
        if given is not None:
            # A new interval sets the anchor, and Django sets the other, whichever fields are saved.
            kwargs["update_fields"] = {*given, "anchor", "updated_at"}
        save_task(
            self,
            partial(super().save, *args, **kwargs),
            now=now or timezone.now(),
            by=by,
            using=using,
            update_fields=given,
            is_new=self._state.adding or self.pk is None,
            anchor_given=anchor_given,
        )

    def delete(
        self, *args: Any, now: datetime | None = None, by: str = BY_CODE, **kwargs: Any
    ) -> tuple[int, dict[str, int]]:
        """Delete the definition; its executions stay, under its name.

        Queued executions are cancelled; running ones continue.
        """
        from scheduled_tasks.lifecycle.editing import delete_task  # noqa: PLC0415

        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        remove = partial(super().delete, *args, **kwargs)
        return delete_task(self, remove, now=now or timezone.now(), by=by, using=using)

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Refuse values that no database can store, and what the fields refuse."""
        excluded = set(exclude or ())
        # The others are set by the database or the save, and may be None until then.
        given = [
            field
            for field in self._meta.concrete_fields
            if field.editable
            and not field.primary_key
            and field.name not in excluded
            # Checked with the arguments of the handler, which have better names for what is wrong.
            and field.name != "payload"
        ]
        errors: dict[str, Any] = flaws_of_fields(self, given)
        checked = "metadata" not in excluded.union(errors)
        if checked and (said := flaw_of_recipients(self.metadata)):
            errors["metadata"] = [said]
        try:
            super().clean_fields(exclude=excluded | JSON_FIELDS | set(errors))
        except ValidationError as error:
            errors |= with_advice(type(self), error.error_dict)
        if errors:
            raise ValidationError(errors)

    def clean(self) -> None:
        """Refuse a task that could never run, with errors by field."""
        super().clean()
        errors: dict[str, list[Any]] = self.errors_of_conditions()
        errors |= self.errors_of_moments("anchor")
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
            # Without a schedule, the missing arguments are given with each run.
            handler.spec.clean(self.payload, complete=bool(self.schedule))
            if said := flaw_of_json(self.payload):
                errors["payload"] = [said]
        except (UnknownHandler, InvalidHandler) as error:
            errors["handler"] = [str(error)]
        except InvalidPayload as error:
            errors["payload"] = [
                " ".join(said) if field == "payload" else f"{field}: {' '.join(said)}"
                for field, said in error.errors.items()
            ]
        if not isinstance(self.metadata, dict):
            errors["metadata"] = [str(_("Enter a JSON object."))]
        if errors:
            raise ValidationError(errors)

    def validate(self, *, unique: bool = True) -> None:
        """Check the whole definition. Raise InvalidTask with the reasons by field.

        Without ``unique``, the database is not asked whether another task has the name.
        """
        try:
            self.full_clean(validate_unique=unique)
        except ValidationError as error:
            raise InvalidTask(error.message_dict) from None

    def validate_fields(self, names: Collection[str]) -> None:
        """Check these fields only, as the rest of the row may be invalid. Raise InvalidTask."""
        others = {field.name for field in self._meta.concrete_fields}.difference(names)
        try:
            self.clean_fields(exclude=others)
        except ValidationError as error:
            raise InvalidTask(error.message_dict) from None

    def switch(self, *, enabled: bool, now: datetime | None = None, by: str = BY_CODE) -> Task:
        """Enable or disable, with all that follows from it, and return self."""
        self.enabled = enabled
        self.save(update_fields=["enabled"], now=now, by=by)
        return self

    def reset_to_code(self, *, by: str = BY_CODE) -> None:
        """Undo what people changed of a declared task, except ``enabled``."""
        names = self.changed_from_code
        for name in names:
            setattr(self, name, self.as_declared(name))
        self.save(update_fields=names, by=by)

    def parse_schedule(self) -> Schedule | None:
        """Return the schedule as a value, None for manual only. Raise InvalidSchedule."""
        return parse(self.schedule, self.timezone, anchor=self.anchor)

    def next_slot(self, after: datetime) -> datetime | None:
        """Return the first slot strictly after a moment, None if none will come."""
        return next(self.slots_after(after), None)

    def slots_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the slots after a moment that lie in the task's window. Raise InvalidSchedule."""
        schedule = self.parse_schedule()
        if self.starts_at is not None and moment < self.starts_at:
            # The moment itself is excluded below, but the start of the window may be a slot.
            moment = self.starts_at - MICROSECOND
        while schedule is not None and (slot := schedule.next_after(moment)) is not None:
            if self.ends_at is not None and slot >= self.ends_at:
                return
            yield slot
            moment = slot

    def jitter_at(self, slot: datetime) -> timedelta:
        """Return how much later than its slot an execution runs, always before the next slot."""
        if not self.jitter:
            return timedelta()
        longest = timedelta(seconds=min(self.jitter, MAX_JITTER_SECONDS))
        if (following := self.next_slot(slot)) is not None:
            longest = min(longest, following - slot)
        # Not random: each machine, and each try of a transaction, gets the same delay.
        drawn = fraction(f"{self.name} {slot.astimezone(UTC).isoformat()}")
        return timedelta(microseconds=int(longest // MICROSECOND * drawn))

    def problem(self) -> str:
        """Return the reason why this task cannot run here, as a sentence; "" if it can."""
        try:
            self.parse_schedule()
            registry.get(self.handler).spec.clean(self.payload, complete=bool(self.schedule))
        except ErrorsByField as error:
            return f"The payload does not fit the arguments of {self.handler}: {error}"
        except ScheduledTasksError as error:
            return str(error)
        return ""

    @property
    def run_options(self) -> dict[str, Any]:
        """Return the fields of a Run that follow from the definition as it is now."""
        policies = {name: getattr(self, name) for name in self.TOLD_TO_RUNS}
        return {"schedule": self.schedule, **policies}

    def describe_schedule(self) -> str:
        """Return the schedule in English, even if the row has become invalid."""
        try:
            schedule = self.parse_schedule()
        except InvalidSchedule:
            return f"Invalid: {self.schedule}"
        return schedule.describe() if schedule else "Manual only"

    @property
    def declared_in_code(self) -> bool:
        """Whether code still declares this task; then it can be disabled, not deleted."""
        gone = hasattr(self, "state") and self.state.parked_reason == UNDECLARED
        return self.origin == self.Origin.CODE and not gone

    @property
    def changed_from_code(self) -> list[str]:
        """Return the fields in which a person made this task differ from its declaration."""
        declared = [name for name in self.DECLARED_FIELDS if name in (self.declared or {})]
        return [name for name in declared if not same(getattr(self, name), self.as_declared(name))]

    def as_declared(self, name: str) -> Any:
        """Return the last declared value of a field, as the field holds it."""
        return field_value(name, (self.declared or {})[name])


def field_value(name: str, declared: Any) -> Any:
    """Return a declared value, which is JSON, as the field holds it."""
    is_moment = name in Policies.MOMENTS and declared is not None
    return datetime.fromisoformat(declared) if is_moment else declared
