"""Who changed the definition of a task, when, and from what to what."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder

#: The author of a change whose caller names none: Python code that saved the row.
BY_CODE = "code"
BY_ENGINE = "engine"
MAX_NAME_LENGTH = 200


class TaskChange(models.Model):
    """One change of a task. Never written again, and never deleted with its task."""

    class Action(models.TextChoices):
        """What was done."""

        CREATED = "created", _("created")
        CHANGED = "changed", _("changed")
        PARKED = "parked", _("parked")
        UNPARKED = "unparked", _("unparked")
        DELETED = "deleted", _("deleted")

    task = models.ForeignKey(
        "scheduled_tasks.Task",
        on_delete=models.SET_NULL,
        null=True,
        related_name="changes",
        # The index below begins with it.
        db_index=False,
        verbose_name=_("task"),
    )
    task_name = models.CharField(_("task name"), max_length=100)
    action = models.CharField(_("action"), max_length=10, choices=Action.choices)
    changed_at = models.DateTimeField(_("changed at"))
    changed_by = models.CharField(_("changed by"), max_length=MAX_NAME_LENGTH)
    fields = models.JSONField(_("fields"), default=dict, encoder=ExactJSONEncoder)
    reason = models.TextField(_("reason"), blank=True)

    class Meta:
        verbose_name = _("task change")
        verbose_name_plural = _("task changes")
        ordering = ("-pk",)
        default_permissions = ("view",)
        indexes = (models.Index(fields=["task", "-id"], name="scheduled_tasks_changes"),)

    def __str__(self) -> str:
        return f"{self.task_name}: {self.get_action_display()}"
