"""Rollups: what became of the executions of a task, by hour, by day and in all."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.transactions import LockingQuerySet


class RollupQuerySet(LockingQuerySet["Rollup"]):
    """Adds the locks of the engine."""


class Rollup(models.Model):
    """The figures of one task for an hour or a day of UTC, or in all, by when executions ended.

    They are kept when the history is pruned. Each execution counts in its hour, in its day and in
    the total. ``durations`` and ``lateness`` are histograms: the number of values in each bucket of
    ``monitoring.histograms``. What ended within the last minute may still be in ``RollupEntry``.
    """

    class Resolution(models.TextChoices):
        """How long a rollup is."""

        HOUR = "hour", _("hour")
        DAY = "day", _("day")
        TOTAL = "all", _("all time")

    # No foreign key: the figures outlive the task. 0 stands for all tasks together.
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
    # Executions by the number of their retries, from one: {"1": 3, "2": 1}.
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

    objects = RollupQuerySet.as_manager()

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
