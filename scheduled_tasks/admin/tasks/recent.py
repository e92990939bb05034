"""The latest executions and changes of a task, shown below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite

from scheduled_tasks.admin import display
from scheduled_tasks.admin.changes import differences
from scheduled_tasks.admin.executions.columns import (
    delay_ms,
    reasons,
    scheduled_times,
    status_badge,
    without_long_columns,
)
from scheduled_tasks.admin.links import url
from scheduled_tasks.models import Task, TaskChange

MAX_EXECUTIONS = 20
MAX_CHANGES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRow:
    """One execution, as the template shows it."""

    number: int
    url: str
    status: str
    reasons: list[str]
    trigger: str
    scheduled_for: str
    delay: str
    duration: str
    worker: str


def recent_executions(task: Task, site: AdminSite) -> list[ExecutionRow]:
    """Return the latest executions of a task, newest first."""
    executions = without_long_columns(task.executions.all()).order_by("-pk")[:MAX_EXECUTIONS]
    return [execution_row(execution, site) for execution in executions]


def execution_row(execution: Any, site: AdminSite) -> ExecutionRow:
    return ExecutionRow(
        number=execution.pk,
        url=url(site, "execution_change", execution.pk),
        status=status_badge(execution),
        trigger=execution.get_trigger_display(),
        reasons=[display.small_text(reason) for reason in reasons(execution)],
        scheduled_for=scheduled_times(execution),
        delay=display.duration(delay_ms(execution)),
        duration=display.duration(execution.duration_ms),
        worker=execution.worker_label or display.EMPTY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One change, as the template shows it."""

    url: str
    changed_at: str
    action: str
    changed_by: str
    summary: str


def recent_changes(task: Task, site: AdminSite) -> list[ChangeRow]:
    """Return the latest changes of a task, newest first."""
    rows = differences.for_lists(TaskChange.objects.filter(task=task)).order_by("-pk")
    return [change_row(change, site) for change in rows[:MAX_CHANGES]]


def change_row(change: Any, site: AdminSite) -> ChangeRow:
    return ChangeRow(
        url=url(site, "taskchange_change", change.pk),
        changed_at=display.moment(change.changed_at),
        action=display.badge(change.action, change.get_action_display()),
        changed_by=change.changed_by,
        summary=differences.summary(change),
    )
