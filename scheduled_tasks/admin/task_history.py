"""The last executions under a task's page."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.admin import AdminSite

from scheduled_tasks.admin import display
from scheduled_tasks.admin.execution import LONG_COLUMNS, delay
from scheduled_tasks.admin.links import url
from scheduled_tasks.models import Execution, Task

SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One execution, ready to show."""

    number: int
    url: str
    status: str
    trigger: str
    scheduled_for: str
    delay: str
    duration: str
    worker: str


def recent_executions(task: Task, site: AdminSite) -> list[Row]:
    """Return the last executions of a task, newest first."""
    executions = task.executions.defer(*LONG_COLUMNS).order_by("-pk")[:SHOWN]
    return [row(execution, site) for execution in executions]


def row(execution: Execution, site: AdminSite) -> Row:
    return Row(
        number=execution.pk,
        url=url(site, "execution_change", execution.pk),
        status=display.badge(execution.status, execution.get_status_display()),
        trigger=execution.get_trigger_display(),
        scheduled_for=display.moment(execution.scheduled_for),
        delay=display.duration(delay(execution)),
        duration=display.duration(execution.duration_ms),
        worker=execution.worker_label or display.EMPTY,
    )
