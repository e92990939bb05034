"""The last executions and changes under a task's page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite

from scheduled_tasks.admin import display
from scheduled_tasks.admin.changes import differences as changes
from scheduled_tasks.admin.executions.admin import for_lists
from scheduled_tasks.admin.executions.columns import delay, remarks, slots_of, status_badge
from scheduled_tasks.admin.links import url
from scheduled_tasks.models import Task, TaskChange

SHOWN, CHANGES_SHOWN = 20, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One execution, ready to show."""

    number: int
    url: str
    status: str
    why: list[str]
    trigger: str
    scheduled_for: str
    delay: str
    duration: str
    worker: str


def recent_executions(task: Task, site: AdminSite) -> list[Row]:
    """Return the last executions of a task, newest first."""
    executions = for_lists(task.executions.all()).order_by("-pk")[:SHOWN]
    return [row(execution, site) for execution in executions]


def row(execution: Any, site: AdminSite) -> Row:
    return Row(
        number=execution.pk,
        url=url(site, "execution_change", execution.pk),
        status=status_badge(execution),
        trigger=execution.get_trigger_display(),
        why=[display.remark(said) for said in remarks(execution)],
        scheduled_for=slots_of(execution),
        delay=display.duration(delay(execution)),
        duration=display.duration(execution.duration_ms),
        worker=execution.worker_label or display.EMPTY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One change, ready to show."""

    url: str
    changed_at: str
    action: str
    changed_by: str
    what: str


def recent_changes(task: Task, site: AdminSite) -> list[ChangeRow]:
    """Return the last changes of a task, newest first."""
    rows = changes.for_lists(TaskChange.objects.filter(task=task)).order_by("-pk")
    return [change_row(change, site) for change in rows[:CHANGES_SHOWN]]


def change_row(change: Any, site: AdminSite) -> ChangeRow:
    return ChangeRow(
        url=url(site, "taskchange_change", change.pk),
        changed_at=display.moment(change.changed_at),
        action=display.badge(change.action, change.get_action_display()),
        changed_by=change.changed_by,
        what=changes.summary(change),
    )
