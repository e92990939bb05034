"""Who changed the definition of a task, when, and from what to what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.runtime.sanitizing import plain

if TYPE_CHECKING:
    from scheduled_tasks.models.task import Task

#: By whom, where nobody is named: Python code that saved the row.
BY_CODE = "code"
BY_ENGINE = "engine"
LONGEST_NAME = 200


class TaskChangeQuerySet(models.QuerySet["TaskChange"]):
    """Sets of changes."""

    def note(
        self,
        task: Task,
        action: str,
        now: datetime,
        *,
        fields: Mapping[str, tuple[Any, Any]] | None = None,
        by: str = BY_ENGINE,
        reason: str = "",
    ) -> None:
        """Put a change on record; ``fields`` holds the old and the new value of each."""
        self.create(
            task_id=task.pk,
            task_name=task.name,
            action=action,
            changed_at=now,
            changed_by=by[:LONGEST_NAME],
            fields={name: plain(values) for name, values in (fields or {}).items()},
            reason=reason,
        )


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
        db_index=False,
        verbose_name=_("task"),
    )
    task_name = models.CharField(_("task name"), max_length=100)
    action = models.CharField(_("action"), max_length=10, choices=Action.choices)
    changed_at = models.DateTimeField(_("changed at"))
    changed_by = models.CharField(_("changed by"), max_length=LONGEST_NAME)
    fields = models.JSONField(_("fields"), default=dict, encoder=DjangoJSONEncoder)
    reason = models.TextField(_("reason"), blank=True)

    objects = TaskChangeQuerySet.as_manager()

    class Meta:
        """The newest first."""

        verbose_name = _("task change")
        verbose_name_plural = _("task changes")
        ordering = ("-pk",)
        default_permissions = ("view",)
        indexes = (models.Index(fields=["task", "-id"], name="scheduled_tasks_changes"),)

    def __str__(self) -> str:
        """Return what was done to which task."""
        return f"{self.task_name}: {self.get_action_display()}"
