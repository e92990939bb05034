"""Rollups: what became of the executions of a task, by hour and by day."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Rollup(models.Model):
    """The figures of one task for one hour or day of UTC, by when executions ended.

    They are kept when the history is pruned. ``durations`` and ``lateness`` are histograms:
    the number of values in each bucket of ``monitoring.histograms``.
    """

    class Resolution(models.TextChoices):
        """How long a rollup is."""

        HOUR = "hour", _("hour")
        DAY = "day", _("day")

    # No foreign key: the figures outlive the task.
    task_id = models.BigIntegerField(_("task"))
    task_name = models.CharField(_("task name"), max_length=100)
    resolution = models.CharField(_("resolution"), max_length=4, choices=Resolution.choices)
    start = models.DateTimeField(_("start"))
    success = models.PositiveBigIntegerField(_("success"), default=0)
    partial = models.PositiveBigIntegerField(_("partial"), default=0)
    failed = models.PositiveBigIntegerField(_("failed"), default=0)
    skipped = models.PositiveBigIntegerField(_("skipped"), default=0)
    cancelled = models.PositiveBigIntegerField(_("cancelled"), default=0)
    missed = models.PositiveBigIntegerField(_("missed"), default=0)
    processed = models.PositiveBigIntegerField(_("processed"), default=0)
    errors = models.PositiveBigIntegerField(_("errors"), default=0)
    # Executions by the number of their retries: {"1": 3, "2": 1}.
    retries = models.JSONField(_("retries"), default=dict)
    # Slots that began, and those of them that began in time.
    started = models.PositiveBigIntegerField(_("started"), default=0)
    on_time = models.PositiveBigIntegerField(_("on time"), default=0)
    lateness = models.JSONField(_("lateness"), default=dict)
    lateness_sum_ms = models.PositiveBigIntegerField(_("sum of lateness"), default=0)
    lateness_max_ms = models.PositiveBigIntegerField(_("maximum lateness"), default=0)
    durations = models.JSONField(_("durations"), default=dict)
    duration_sum_ms = models.PositiveBigIntegerField(_("sum of durations"), default=0)
    duration_max_ms = models.PositiveBigIntegerField(_("maximum duration"), default=0)
    # Each write adds one and is guarded by it.
    revision = models.PositiveBigIntegerField(_("revision"), default=1)

    class Meta:
        verbose_name = _("rollup")
        verbose_name_plural = _("rollups")
        ordering = ("-start",)
        default_permissions = ("view",)
        constraints = (
            models.UniqueConstraint(
                fields=["task_id", "resolution", "start"], name="scheduled_tasks_one_rollup"
            ),
        )
        indexes = (models.Index(fields=["resolution", "start"], name="scheduled_tasks_rollups"),)

    def __str__(self) -> str:
        return f"{self.task_name} {self.start:%Y-%m-%d %H:%M}"
