"""Run the yardstick: a plain Django loop."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from django.utils import timezone

from benchmarks import marks
from benchmarks.models import PlainExecution, PlainTask

BATCH_SIZE = 100
POLL_INTERVAL = 1.0


class Command(BaseCommand):
    """Fire, claim, run and end what is due, in batches of 100, for ever.

    It has no policies, retries, leases, logs or errors on record, and jobs run in the loop itself:
    what is left is what any scheduler on Django's ORM has to do.
    """

    help = __doc__

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the option."""
        parser.add_argument(
            "--apart", action="store_true", help="End by bulk_update: each row its own values."
        )

    def handle(self, *args: Any, apart: bool, **options: Any) -> None:
        """Loop."""
        while True:
            executions = claim()
            for execution in executions:
                marks.leave(**execution.task.payload)
                execution.finished_at = timezone.now()
            if executions:
                (end_apart if apart else end_alike)(executions)
            else:
                time.sleep(seconds_to_next())


def claim() -> list[PlainExecution]:
    """Lock a batch of due tasks, move their clocks on and insert their executions."""
    now = timezone.now()
    with transaction.atomic():
        due = PlainTask.objects.filter(next_run_at__lte=now).order_by("next_run_at")
        tasks = list(due.select_for_update(skip_locked=True)[:BATCH_SIZE])
        executions = [
            PlainExecution(task=task, slot=task.next_run_at, started_at=now) for task in tasks
        ]
        for task in tasks:
            task.next_run_at = next_slot(task.next_run_at, task.seconds, now)
            task.last_run_at = now
        if tasks:
            PlainTask.objects.bulk_update(tasks, ["next_run_at", "last_run_at"])
        return PlainExecution.objects.bulk_create(executions)


def end_apart(executions: list[PlainExecution]) -> None:
    """Write that they have succeeded, and when each of them did."""
    for execution in executions:
        execution.status = PlainExecution.Status.SUCCESS
    PlainExecution.objects.bulk_update(executions, ["status", "finished_at"])


def end_alike(executions: list[PlainExecution]) -> None:
    """Write that they have succeeded by now."""
    rows = PlainExecution.objects.filter(pk__in=[execution.pk for execution in executions])
    rows.update(status=PlainExecution.Status.SUCCESS, finished_at=timezone.now())


def next_slot(slot: datetime, seconds: int, now: datetime) -> datetime:
    every = timedelta(seconds=seconds)
    return slot + every * ((now - slot) // every + 1)


def seconds_to_next() -> float:
    coming = PlainTask.objects.order_by("next_run_at").values_list("next_run_at", flat=True).first()
    if coming is None:
        return POLL_INTERVAL
    return min(max((coming - timezone.now()).total_seconds(), 0), POLL_INTERVAL)
