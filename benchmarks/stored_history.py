"""A long history of executions, as years of work leave it.

One execution a second, of two hundred tasks. Every second one belongs to a single busy task, and
one of a hundred has failed. One of two thousand was missed, as after an outage, and twenty in all
were cancelled. The last task is deleted in the end; its history stays. One execution has as many
log lines as are kept, every thousandth of them a warning.
"""

from __future__ import annotations

import functools
import logging
from datetime import timedelta

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, F

from benchmarks.contestants.base import analyze, as_datetime
from benchmarks.contestants.ours import Ours, store_tasks
from benchmarks.workers import now
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, ExecutionLog, Task

TASKS = 200
DELETED_TASK = f"task-{TASKS - 1}"
#: One execution of this many has failed, or was missed.
FAILURES, MISSED = 100, 2_000
CANCELLED = 20
WARNINGS = 1_000
#: This many executions are built; the others are copies of them, with later times.
BUILT = 2_000
DAY = 86_400
TIMES = (
    "slot",
    "scheduled_for",
    "run_after",
    "created_at",
    "claimed_at",
    "started_at",
    "finished_at",
)


@functools.cache
def store(size: int, tasks: int = TASKS) -> None:
    """Store the history up to now, once in each process."""
    store_until(now(), size, tasks)


def store_until(end: float, size: int, count: int = TASKS) -> None:
    """Store the history up to a moment, in seconds since 1970, and nothing else."""
    Ours("thread").empty()
    tasks = store_tasks([(DAY, now() + DAY)] * count)
    begun = end - size
    rows = [execution_of(tasks, number, begun + number) for number in range(min(size, BUILT))]
    Execution.objects.bulk_create(rows)
    stored = len(rows)
    while stored < size:
        copy_executions(min(stored, size - stored), later_by=stored)
        stored *= 2
    ids = Execution.objects.filter(status="success").order_by("pk").values_list("pk", flat=True)
    cancelled = ids[:: max(1, size // CANCELLED)]
    Execution.objects.filter(pk__in=list(cancelled)).update(status="cancelled")
    Task.objects.get(name=DELETED_TASK).delete()
    store_log(Execution.objects.latest("pk"))
    analyze()


def execution_of(tasks: list[Task], number: int, moment: float) -> Execution:
    """Build the execution of one second."""
    begun = as_datetime(moment)
    task = tasks[0 if number % 2 else number // 2 % len(tasks)]
    execution = Execution.for_task(task, trigger=Execution.Trigger.SCHEDULE, now=begun, slot=begun)
    execution.status = Execution.Status.SUCCESS
    if number % FAILURES == 0:
        execution.status = Execution.Status.FAILED
        execution.error = execution.traceback = "ValueError: the number is a multiple of a hundred"
    elif number % MISSED == 1:
        execution.status = Execution.Status.MISSED
    execution.attempt = 1
    execution.claimed_at = execution.started_at = execution.finished_at = begun
    execution.duration_ms = number
    return execution


def copy_executions(count: int, *, later_by: int) -> None:
    """Store the first executions a second time, with later times: faster than to send them."""
    fields = [field for field in Execution._meta.concrete_fields if not field.primary_key]  # noqa: SLF001
    step = timedelta(seconds=later_by)
    later = {
        f"later_{name}": ExpressionWrapper(F(name) + step, output_field=DateTimeField())
        for name in TIMES
    }
    names = [f"later_{field.name}" if field.name in TIMES else field.name for field in fields]
    rows = Execution.objects.order_by("pk").annotate(**later).values_list(*names)[:count]
    selected, parameters = rows.query.sql_with_params()
    quote = connection.ops.quote_name
    columns = ", ".join(quote(field.column) for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {quote(Execution._meta.db_table)} ({columns}) {selected}",  # noqa: SLF001
            parameters,
        )


def store_log(execution: Execution) -> None:
    """Store as many lines as are kept of one execution."""
    ExecutionLog.objects.bulk_create(
        (
            ExecutionLog(
                execution=execution,
                attempt=1,
                logged_at=execution.started_at,
                level=logging.INFO if number % WARNINGS else logging.WARNING,
                logger="scheduled_tasks.run",
                message=f"line {number} of a log that says something about each item",
            )
            for number in range(app_settings.MAX_LOG_LINES)
        ),
        batch_size=BUILT,
    )
