"""What becomes of a task's slots and runs: the columns of its policies, and what they mean."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.handlers.retries import MOST, MOST_BACKOFF, Retry

#: As many slots can be caught up, or wait, at most.
MOST_CAUGHT_UP = 5_000
#: In seconds: a day.
LONGEST_JITTER = 86_400
#: Some zones cannot show years near the ends of the calendar.
FIRST_YEAR, LAST_YEAR = 1900, 9000


def refuse_unshowable(moment: datetime) -> None:
    """Refuse years near the ends of the calendar."""
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        said = _("Enter a date between the years %(first)d and %(last)d.")
        raise ValidationError(said, params={"first": FIRST_YEAR, "last": LAST_YEAR})


def refuse_nan(value: float) -> None:
    """Refuse what is no number; bounds let it pass."""
    if value != value:  # noqa: PLR0124 -- true of nothing else
        raise ValidationError(_("Enter a number."))


class Policies(models.Model):
    """The policies of a task. docs/policies.md tells what each of them does."""

    class MisfirePolicy(models.TextChoices):
        """What happens to slots for which no scheduler looked in time."""

        ONCE = "once", _("catch up the newest")
        SKIP = "skip", _("catch up none")
        ALL = "all", _("catch up all, up to a limit")

    class OverlapPolicy(models.TextChoices):
        """What happens to a slot while an earlier execution has not ended."""

        SKIP = "skip", _("skip the slot")
        BUFFER_ONE = "buffer_one", _("let one wait")
        BUFFER_ALL = "buffer_all", _("let all wait, up to a limit")
        CANCEL_OTHER = "cancel_other", _("cancel the earlier one")
        ALLOW = "allow", _("run beside it")

    class OnLost(models.TextChoices):
        """What happens to an execution whose worker was lost."""

        RETRY = "retry", _("run it again")
        FAIL = "fail", _("fail it")

    class Executor(models.TextChoices):
        """Where the executions of a task run."""

        PROCESS = "process", _("a process of its own")
        THREAD = "thread", _("a thread of the worker")

    queue = models.CharField(
        _("queue"),
        max_length=100,
        default="default",
        help_text=_("Only workers that serve it run the task; by default all do."),
    )
    priority = models.IntegerField(
        _("priority"), default=0, help_text=_("Higher runs first among what waits.")
    )
    executor = models.CharField(
        _("executor"),
        max_length=20,
        blank=True,
        choices=[("", _("the worker's choice")), *Executor.choices],
        help_text=_("Where its executions run. A thread can be asked to stop, but not killed."),
    )
    timeout = models.PositiveIntegerField(
        _("timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST)],
        help_text=_("Seconds; then the run is asked to stop, and killed if it does not."),
    )
    memory_limit_mb = models.PositiveIntegerField(
        _("memory limit in MB"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST)],
        help_text=_(
            "What the run and its child processes may use above what it started with; a run that "
            "uses more is killed."
        ),
    )

    max_retries = models.PositiveIntegerField(
        _("retries"),
        default=0,
        validators=[MaxValueValidator(MOST)],
        help_text=_("How often an execution that failed is tried again."),
    )
    retry_delay = models.PositiveIntegerField(
        _("retry delay"),
        default=1,
        validators=[MaxValueValidator(MOST)],
        help_text=_("Seconds before the first retry."),
    )
    retry_backoff = models.FloatField(
        _("retry backoff"),
        default=2.0,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_BACKOFF), refuse_nan],
        help_text=_("By how much each delay is longer than the one before."),
    )
    retry_max_delay = models.PositiveIntegerField(
        _("longest retry delay"),
        default=3600,
        validators=[MaxValueValidator(MOST)],
        help_text=_("Seconds."),
    )
    on_lost = models.CharField(
        _("when its worker is lost"), max_length=10, choices=OnLost.choices, default=OnLost.RETRY
    )
    max_losses = models.PositiveIntegerField(
        _("most losses"),
        default=3,
        validators=[MaxValueValidator(MOST)],
        help_text=_("How often an execution whose worker was lost is run again."),
    )

    misfire_policy = models.CharField(
        _("misfire policy"),
        max_length=20,
        choices=MisfirePolicy.choices,
        default=MisfirePolicy.ONCE,
        help_text=_("What happens to slots that came while no scheduler was running."),
    )
    misfire_grace = models.PositiveIntegerField(
        _("misfire grace"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MOST)],
        help_text=_("Seconds; a slot that is later than this is not run. Empty: never too late."),
    )
    catch_up_limit = models.PositiveIntegerField(
        _("catch-up limit"),
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_CAUGHT_UP)],
        help_text=_("How many slots are caught up, or wait, at most."),
    )
    overlap_policy = models.CharField(
        _("overlap policy"),
        max_length=20,
        choices=OverlapPolicy.choices,
        default=OverlapPolicy.SKIP,
        help_text=_("What happens to a slot while an earlier execution has not ended."),
    )
    jitter = models.PositiveIntegerField(
        _("jitter"),
        default=0,
        validators=[MaxValueValidator(LONGEST_JITTER)],
        help_text=_(
            "Seconds; each slot is run up to so much later, so that not all start together."
        ),
    )

    starts_at = models.DateTimeField(
        _("starts at"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("The first slot is not before this."),
    )
    ends_at = models.DateTimeField(
        _("ends at"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("The last slot is before this."),
    )
    paused_until = models.DateTimeField(
        _("paused until"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("Slots before this are skipped. Empty it to end a pause early."),
    )
    pause_reason = models.CharField(_("pause reason"), max_length=255, blank=True)

    #: The policies that hold a moment.
    MOMENTS = ("starts_at", "ends_at", "paused_until")
    #: The policies that a declaration sets; pauses belong to people.
    DECLARED_FIELDS: ClassVar[tuple[str, ...]] = (
        "queue",
        "priority",
        "timeout",
        "memory_limit_mb",
        "executor",
        "max_retries",
        "retry_delay",
        "retry_backoff",
        "retry_max_delay",
        "on_lost",
        "max_losses",
        "misfire_policy",
        "misfire_grace",
        "catch_up_limit",
        "overlap_policy",
        "jitter",
        "starts_at",
        "ends_at",
    )

    class Meta:
        """Part of the table of tasks."""

        abstract = True

    def errors_of_moments(self, *others: str) -> dict[str, list[Any]]:
        """Return what is wrong with moments that make no window, or have no time zone."""
        errors: dict[str, list[Any]] = {}
        for name in (*self.MOMENTS, *others):
            moment = getattr(self, name)  # its field has refused anything else
            if isinstance(moment, datetime) and moment.utcoffset() is None:
                errors[name] = [_("Enter a date and time with a time zone.")]
        if not errors and self.starts_at and self.ends_at and self.starts_at >= self.ends_at:
            errors["ends_at"] = [_("It must end after it starts.")]
        return errors

    def is_paused(self, now: datetime) -> bool:
        """Say whether the task itself is paused; a pause of everything is not looked at."""
        return self.paused_until is not None and now < self.paused_until

    def too_late(self, lateness: timedelta) -> bool:
        """Say whether an execution may not begin any more, so much after its time."""
        grace = self.misfire_grace
        return grace is not None and lateness > timedelta(seconds=min(grace, MOST))

    @property
    def too_late_reason(self) -> str:
        """Say why a slot was not run that was too late."""
        return f"It was later than its misfire grace of {self.misfire_grace} s."

    @property
    def newest_slot_counts(self) -> bool:
        """Say whether a new slot cancels the other executions of slots."""
        return self.overlap_policy == self.OverlapPolicy.CANCEL_OTHER

    @property
    def may_overlap(self) -> bool:
        """Say whether its executions may run beside each other."""
        return self.overlap_policy == self.OverlapPolicy.ALLOW

    @property
    def counts_unfinished(self) -> bool:
        """Say whether what becomes of a slot depends on how many executions have not ended."""
        return not (self.may_overlap or self.newest_slot_counts)

    @property
    def retry(self) -> Retry:
        """Return how often a failed execution is tried again, and after how long.

        A number that only a bulk update can have written is brought within its bounds.
        """
        backoff = self.retry_backoff
        return Retry(
            max_retries=min(self.max_retries, MOST),
            delay=min(self.retry_delay, MOST),
            backoff=backoff if 1 <= backoff <= MOST_BACKOFF else 1.0,
            max_delay=min(self.retry_max_delay, MOST),
        )
