"""Maintenance windows: tasks run, alerts are recorded, nobody is notified until the end."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.transactions import LockingQuerySet
from scheduled_tasks.models.validators import refuse_unshowable

#: In characters.
MAX_REASON_LENGTH = 255


class MaintenanceWindowQuerySet(LockingQuerySet["MaintenanceWindow"]):
    def in_force(self, now: datetime) -> Self:
        """Keep those that are in force at a moment."""
        return self.not_over(now).filter(starts_at__lte=now)

    def not_over(self, now: datetime) -> Self:
        """Keep those that are in force at a moment, or begin after it."""
        return self.filter(ends_at__gt=now)


class MaintenanceWindow(models.Model):
    """A time in which alerts are expected. It always has an end and a reason.

    It is not a pause: tasks run. Without a task it is for everything.
    """

    task = models.ForeignKey(
        "scheduled_tasks.Task",
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="maintenance_windows",
        verbose_name=_("task"),
        help_text=_("Leave empty to hold the notifications of all tasks and workers."),
    )
    starts_at = models.DateTimeField(_("starts at"), validators=[refuse_unshowable])
    ends_at = models.DateTimeField(
        _("ends at"),
        validators=[refuse_unshowable],
        help_text=_("Messages wait until then. What has cleared by then is not sent."),
    )
    reason = models.CharField(_("reason"), max_length=MAX_REASON_LENGTH)
    created_by = models.CharField(_("created by"), max_length=200, blank=True, editable=False)

    objects = MaintenanceWindowQuerySet.as_manager()

    class Meta:
        verbose_name = _("maintenance window")
        verbose_name_plural = _("maintenance windows")
        ordering = ("-starts_at",)

    def __str__(self) -> str:
        return self.reason

    def clean(self) -> None:
        """Raise ValidationError unless it ends after it starts."""
        # A field that was refused itself is None here.
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": _g("Enter a time after the start.")})

    def covers(self, moment: datetime) -> bool:
        """Whether it is in force at a moment."""
        return self.starts_at <= moment < self.ends_at
