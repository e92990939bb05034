"""Alerts: conditions that were raised, and cleared since."""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.models.sql.transactions import LockingQuerySet
from scheduled_tasks.runtime.conditions import Condition, Severity

#: In characters.
MAX_SUBJECT_LENGTH = 255


class AlertQuerySet(LockingQuerySet["Alert"]):
    def open(self) -> Self:
        """Keep those that are not cleared."""
        return self.filter(open_key__isnull=False)


class Alert(models.Model):
    """One condition of one task or subject, from when it was raised until it was cleared.

    The unique ``open_key`` latches it: while an alert is open, no second one of the same condition,
    task and subject can be raised, whatever the number of workers. Cleared alerts have none.
    """

    Condition = Condition
    Severity = Severity

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    condition = models.CharField(_("condition"), max_length=20, choices=Condition.choices)
    severity = models.CharField(_("severity"), max_length=10, choices=Severity.choices)
    task = models.ForeignKey(
        "scheduled_tasks.Task",
        on_delete=models.SET_NULL,
        null=True,
        related_name="alerts",
        verbose_name=_("task"),
    )
    task_name = models.CharField(_("task name"), max_length=100, blank=True)
    # The worker, the service, the key or the invariant; empty where the task says it all.
    subject = models.CharField(_("subject"), max_length=MAX_SUBJECT_LENGTH, blank=True)
    open_key = models.CharField(_("open key"), max_length=64, null=True, unique=True)
    # No foreign key: history is pruned, alerts outlive it.
    execution_id = models.BigIntegerField(_("execution"), null=True)
    message = models.TextField(_("message"))
    # What clearing needs to know: the slot, the ids of the workers.
    details = models.JSONField(_("details"), default=dict)
    raised_at = models.DateTimeField(_("raised at"), db_index=True)
    reminded_at = models.DateTimeField(_("reminded at"), null=True)
    cleared_at = models.DateTimeField(_("cleared at"), null=True)
    cleared_because = models.TextField(_("cleared because"), blank=True)

    objects = AlertQuerySet.as_manager()

    class Meta:
        verbose_name = _("alert")
        verbose_name_plural = _("alerts")
        ordering = ("-raised_at",)
        default_permissions = ("view",)
        permissions = (("manage_alert", "Can manage alerts"),)
        # Successes are pruned before the alerts around them.
        indexes = (
            models.Index(fields=["condition", "raised_at"], name="scheduled_tasks_alert_kind"),
        )

    def __str__(self) -> str:
        about = self.task_name or self.subject
        condition = self.get_condition_display()
        return f"{condition}: {about}" if about else condition
