"""List all tasks."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandParser
from django.utils import timezone

from scheduled_tasks.management.base import OutputCommand
from scheduled_tasks.management.console import describe_pause, moment
from scheduled_tasks.models import Pause, Task
from scheduled_tasks.operations.records import task_record
from scheduled_tasks.operations.tasks import list_tasks

HEADINGS = ("task", "schedule", "zone", "next run", "last status", "state")


class Command(OutputCommand):
    """List all tasks with their schedule, next run and last status."""

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="Print a JSON array.")

    def handle(self, *args: Any, **options: Any) -> str:
        tasks = list(list_tasks())
        if options["json"]:
            return json.dumps([task_record(task) for task in tasks], indent=2)
        pauses = [f"{describe_pause(pause)}\n" for pause in Pause.objects.in_force(timezone.now())]
        return "\n".join([*pauses, table(tasks)])


def table(tasks: list[Task]) -> str:
    if not tasks:
        return "There are no tasks yet. Declare one with @scheduled_task, then run synctasks."
    rows = [HEADINGS, *(as_row(task) for task in tasks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def as_row(task: Task) -> tuple[str, ...]:
    next_run = task.state.next_run_at
    return (
        task.name,
        task.schedule or "manual",
        task.timezone,
        moment(next_run) if next_run else "-",
        task.state.last_status or "-",
        state(task),
    )


def state(task: Task) -> str:
    if task.state.parked_at:
        return f"parked: {task.state.parked_reason}"
    if not task.enabled:
        return "disabled"
    if task.paused_until is not None and task.is_paused(timezone.now()):
        reason = f": {task.pause_reason}" if task.pause_reason else ""
        return f"paused until {moment(task.paused_until)}{reason}"
    return "enabled"
