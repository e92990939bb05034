"""How long the admin's pages take when very many executions are stored.

By Django's test client, in this process: the view, its template and the database, no network. Of
two hundred tasks; one execution of a hundred has failed. Each page is asked for twice, the second
time counts.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from http import HTTPStatus

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.contestants.base import analyze, as_datetime
from benchmarks.contestants.ours import Ours, store_tasks
from benchmarks.measure import NotMeasuredError
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import now
from scheduled_tasks.models import Execution, Task

#: Executions.
SIZE = 1_000_000
SECONDS = 0.0
WITH_PEERS = False

TASKS, FAILS = 200, 100
#: So many are built, the others are copies of them.
FIRST = 2_000
DAY = 86_400


def cases(plan: Plan) -> list[Case]:
    """Return the pages that people look at most."""
    executions, tasks = (
        reverse(f"admin:scheduled_tasks_{of}_changelist") for of in ("execution", "task")
    )
    pages = {
        "executions": lambda: executions,
        "executions that failed": lambda: f"{executions}?status__exact=failed",
        "executions of one task": lambda: f"{executions}?task={Task.objects.earliest('pk').pk}",
        "one execution": lambda: page_of(Execution.objects.latest("pk")),
        "tasks": lambda: tasks,
        "one task": lambda: page_of(Task.objects.earliest("pk")),
    }
    return [
        Case(
            labels={"page": name, "executions": f"{plan.size:,}"},
            measure=functools.partial(ask, address, plan.size),
        )
        for name, address in pages.items()
    ]


def ask(address: Callable[[], str], size: int) -> Figures:
    """Ask for a page, and return how long it took and how many queries it made."""
    client = client_of_history(size)
    url = address()
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        begun = time.perf_counter()
        response = client.get(url)
        took = time.perf_counter() - begun
    if response.status_code != HTTPStatus.OK:
        raise NotMeasuredError(f"{url} answered {response.status_code}")
    return {"ms": took * 1000, "queries": len(captured)}


@functools.cache
def client_of_history(size: int) -> Client:
    """Store the executions, and return the client of somebody who may see everything."""
    Ours("thread").empty()
    tasks = store_tasks([(DAY, now() + DAY)] * TASKS)
    executions = [execution_of(tasks[number % TASKS], number) for number in range(FIRST)]
    Execution.objects.bulk_create(executions[:size])
    while (stored := Execution.objects.count()) < size:
        copy_executions(min(stored, size - stored))
    analyze()
    client = Client()
    client.force_login(User.objects.create_superuser("history"))
    return client


def execution_of(task: Task, number: int) -> Execution:
    begun = as_datetime(now() - FIRST + number)
    execution = Execution.for_task(task, trigger=Execution.Trigger.SCHEDULE, now=begun)
    execution.status = Execution.Status.SUCCESS
    if number % FAILS == 0:
        execution.status = Execution.Status.FAILED
        execution.error = execution.traceback = "ValueError: the number is a multiple of a hundred"
    execution.attempt = 1
    execution.claimed_at = execution.started_at = execution.finished_at = begun
    execution.duration_ms = number
    return execution


def copy_executions(count: int) -> None:
    """Store so many executions a second time: much faster than to send them."""
    fields = [field for field in Execution._meta.concrete_fields if not field.primary_key]  # noqa: SLF001
    quote = connection.ops.quote_name
    table, columns = quote(Execution._meta.db_table), ", ".join(quote(f.column) for f in fields)  # noqa: SLF001
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table} LIMIT %s",
            [count],
        )


def page_of(row: Execution | Task) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=[row.pk])  # noqa: SLF001
