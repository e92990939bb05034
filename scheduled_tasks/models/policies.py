"""What becomes of a task's slots and runs: the columns of its policies, and what they mean."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import chain
from typing import Any, ClassVar

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.handlers.retries import MAX_BACKOFF, MAX_INTEGER, Retry
from scheduled_tasks.models.alert_policies import AlertPolicies
from scheduled_tasks.models.validators import refuse_nan, refuse_unshowable
from scheduled_tasks.runtime.wording import duration

#: The most slots that can be caught up, or wait.
MAX_CAUGHT_UP = 5_000
#: In seconds: a day.
MAX_JITTER_SECONDS = 86_400
#: A hundred years.
MAX_DAYS = 36_500


class Policies(AlertPolicies):
    """The policies of a task: those about alerts, and these. docs/policies.md explains each."""

    class MisfirePolicy(models.TextChoices):
        """What happens to slots that no scheduler handled in time."""

        ONCE = "once", _("Run the latest only")
        SKIP = "skip", _("Run none")
        ALL = "all", _("Run all, up to the catch-up limit")

    class OverlapPolicy(models.TextChoices):
        """What happens to a slot while an earlier execution is unfinished."""

        SKIP = "skip", _("Skip the new run")
        BUFFER_ONE = "buffer_one", _("Queue one run")
        BUFFER_ALL = "buffer_all", _("Queue all runs, up to the catch-up limit")
        CANCEL_OTHER = "cancel_other", _("Cancel the earlier run")
        ALLOW = "allow", _("Run both at the same time")

    class OnLost(models.TextChoices):
        """What happens to an execution whose worker was lost."""

        RETRY = "retry", _("Run again")
        FAIL = "fail", _("Mark as failed")

    class ExecutorChoice(models.TextChoices):
        """Where the executions of a task run."""

        PROCESS = "process", _("Separate process")
        THREAD = "thread", _("Thread in the worker")

    queue = models.CharField(
        _("queue"),
        max_length=100,
        default="default",
        help_text=_("Only workers that serve this queue run the task. By default they serve all."),
    )
    priority = models.IntegerField(
        _("priority"),
        default=0,
        help_text=_("Queued executions with a higher priority run first."),
    )
    executor = models.CharField(
        _("executor"),
        max_length=20,
        blank=True,
        choices=[("", _("Worker default")), *ExecutorChoice.choices],
        help_text=_("Where executions run. A thread can be asked to stop but cannot be killed."),
    )
    timeout = models.PositiveIntegerField(
        _("timeout"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. A run that takes longer is asked to stop, then killed."),
    )
    memory_limit_mb = models.PositiveIntegerField(
        _("memory limit (MB)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_INTEGER)],
        help_text=_(
            "Memory that a run and its child processes may use in addition to what the run "
            "started with. A run that uses more is killed."
        ),
    )

    max_retries = models.PositiveIntegerField(
        _("max. retries"),
        default=0,
        validators=[MaxValueValidator(MAX_INTEGER)],
        help_text=_("Maximum number of times a failed execution is retried."),
    )
    retry_delay = models.PositiveIntegerField(
        _("retry delay"),
        default=1,
        validators=[MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds before the first retry."),
    )
    retry_backoff = models.FloatField(
        _("retry backoff"),
        default=2.0,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_BACKOFF), refuse_nan],
        help_text=_("Each retry delay is the previous one multiplied by this number."),
    )
    retry_max_delay = models.PositiveIntegerField(
        _("maximum retry delay"),
        default=3600,
        validators=[MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. Retry delays grow up to this limit."),
    )
    on_lost = models.CharField(
        _("if the worker dies"), max_length=10, choices=OnLost.choices, default=OnLost.RETRY
    )
    max_losses = models.PositiveIntegerField(
        _("max. times rerun after a lost worker"),
        default=3,
        validators=[MaxValueValidator(MAX_INTEGER)],
        help_text=_("Counts only runs that ran alone. After that, the execution fails."),
    )

    misfire_policy = models.CharField(
        _("misfire policy"),
        max_length=20,
        choices=MisfirePolicy.choices,
        default=MisfirePolicy.ONCE,
        help_text=_("What to do about scheduled times that passed while no scheduler was running."),
    )
    misfire_grace = models.PositiveIntegerField(
        _("grace period"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_INTEGER)],
        help_text=_("Seconds. A run that is later than this is missed. Leave empty for no limit."),
    )
    catch_up_limit = models.PositiveIntegerField(
        _("catch-up limit"),
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_CAUGHT_UP)],
        help_text=_("Maximum number of runs that are caught up or queued."),
    )
    overlap_policy = models.CharField(
        _("overlap policy"),
        max_length=20,
        choices=OverlapPolicy.choices,
        default=OverlapPolicy.SKIP,
        help_text=_("What to do when a run is due and an earlier one has not finished."),
    )
    jitter = models.PositiveIntegerField(
        _("jitter"),
        default=0,
        validators=[MaxValueValidator(MAX_JITTER_SECONDS)],
        help_text=_("Delay each run by a random 0 to N seconds to avoid simultaneous starts."),
    )

    starts_at = models.DateTimeField(
        _("starts at"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("Nothing is scheduled before this time."),
    )
    ends_at = models.DateTimeField(
        _("ends at"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("Nothing is scheduled from this time on."),
    )
    paused_until = models.DateTimeField(
        _("paused until"),
        null=True,
        blank=True,
        validators=[refuse_unshowable],
        help_text=_("Scheduled runs before this time are skipped. Clear it to resume early."),
    )
    pause_reason = models.CharField(_("pause reason"), max_length=255, blank=True)

    retention_days = models.PositiveIntegerField(
        _("keep executions for"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)],
        help_text=_("Days after which executions are pruned. Leave empty for the default."),
    )
    log_retention_days = models.PositiveIntegerField(
        _("keep logs for"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MAX_DAYS)],
        help_text=_("Days after which lines of logs are pruned. Leave empty for the default."),
    )
    keep_last = models.PositiveIntegerField(
        _("always keep the newest"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(MAX_INTEGER)],
        help_text=_("Number of executions that are kept however old. Leave empty for the default."),
    )

    #: The policies that hold a moment.
    MOMENTS = ("starts_at", "ends_at", "paused_until")
    #: The policies that code may set too, by sections of the admin's form and in lines of it.
    SECTIONS: ClassVar[dict[str, tuple[str | tuple[str, ...], ...]]] = {
        "schedule": (("starts_at", "ends_at"), "jitter"),
        "execution": ("executor", ("timeout", "memory_limit_mb")),
        "failures": (
            ("max_retries", "retry_delay"),
            ("retry_backoff", "retry_max_delay"),
            ("on_lost", "max_losses"),
        ),
        "late": (("misfire_policy", "misfire_grace"), ("overlap_policy", "catch_up_limit")),
        "alerts": (
            ("severity", "alert_after_failures"),
            ("start_within", "max_runtime"),
            ("no_success_for", "remind_every"),
            "notify_on",
            "heartbeat_url",
        ),
        "retention": (("retention_days", "log_retention_days"), "keep_last"),
        "advanced": (("queue", "priority"),),
    }
    DECLARED_FIELDS: ClassVar[tuple[str, ...]] = tuple(
        chain.from_iterable(
            (line,) if isinstance(line, str) else line for line in chain(*SECTIONS.values())
        )
    )
    #: What runs are told, as fields of a Run of the same names.
    TOLD_TO_RUNS = ("executor", "timeout", "memory_limit_mb")
    #: What a claim reads.
    READ_TO_CLAIM = (
        *TOLD_TO_RUNS,
        "overlap_policy",
        "paused_until",
        "misfire_grace",
        "on_lost",
        "heartbeat_url",
    )
    #: What deciding slots reads, a claim at once included.
    READ_TO_FIRE = (
        *READ_TO_CLAIM,
        "queue",
        "priority",
        "starts_at",
        "ends_at",
        "jitter",
        "pause_reason",
        "misfire_policy",
        "catch_up_limit",
    )

    class Meta:
        abstract = True

    def errors_of_moments(self, *others: str) -> dict[str, list[Any]]:
        """Return what is wrong with moments that make no window, or have no time zone."""
        errors: dict[str, list[Any]] = {}
        for name in (*self.MOMENTS, *others):
            moment = getattr(self, name)  # its field refuses anything but a datetime
            if isinstance(moment, datetime) and moment.utcoffset() is None:
                errors[name] = [_("Enter a date and time with a time zone.")]
        match self.starts_at, self.ends_at:
            case datetime() as start, datetime() as end if not errors and start >= end:
                errors["ends_at"] = [_("The end must be later than the start.")]
        return errors

    def is_paused(self, now: datetime) -> bool:
        """Whether the task itself is paused; global pauses do not count."""
        return self.paused_until is not None and now < self.paused_until

    def too_late(self, lateness: timedelta) -> bool:
        """Whether it is too late to start an execution, this long after its time."""
        # A bulk update on SQLite can write a number that no timedelta can hold.
        grace = self.misfire_grace
        return grace is not None and lateness > timedelta(seconds=min(grace, MAX_INTEGER))

    @property
    def too_late_reason(self) -> str:
        """Return why a slot that was too late was not run."""
        grace = duration(self.misfire_grace or 0)
        return f"Found later than the grace period of {grace} allows."

    @property
    def newest_slot_counts(self) -> bool:
        """Whether a new slot cancels the earlier executions of slots."""
        return self.overlap_policy == self.OverlapPolicy.CANCEL_OTHER

    @property
    def may_overlap(self) -> bool:
        """Whether its executions may run at the same time."""
        return self.overlap_policy == self.OverlapPolicy.ALLOW

    @property
    def started_once(self) -> bool:
        """Whether a run that has begun is not started again if its worker is lost."""
        return self.on_lost == self.OnLost.FAIL

    @property
    def counts_unfinished(self) -> bool:
        """Whether the number of unfinished executions decides what happens to a slot."""
        return not (self.may_overlap or self.newest_slot_counts)

    @property
    def retry(self) -> Retry:
        """Return how often a failed execution is retried, and after which delays.

        A number that only a bulk update can have written is brought within its bounds.
        """
        backoff = self.retry_backoff
        return Retry(
            max_retries=min(self.max_retries, MAX_INTEGER),
            delay=min(self.retry_delay, MAX_INTEGER),
            backoff=backoff if 1 <= backoff <= MAX_BACKOFF else 1.0,
            max_delay=min(self.retry_max_delay, MAX_INTEGER),
        )
