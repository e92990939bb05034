"""How long pages of the history take when very many executions are stored.

*Pages* are those of the admin, asked for by Django's test client in this process: the view, its
template and the database, no network. *Lists* are fetched from the database only: 50 rows as the
admin shows them, and their number, which the admin counts up to 10,000. A busy task has every
second execution. One execution of a hundred failed, one of two thousand was missed, twenty in all
were cancelled. One task of two hundred was deleted. The log has as many lines as are kept by
default.
"""

from __future__ import annotations

import functools
import itertools
import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from statistics import median
from typing import Any

from django.contrib.admin import site
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.measure import NotMeasuredError, percentile
from benchmarks.stored_history import DELETED_TASK, store
from benchmarks.suites.base import Case, Figures, Plan
from scheduled_tasks import task_history
from scheduled_tasks.admin.executions.admin import ExecutionAdmin
from scheduled_tasks.admin.pagination import CappedPaginator
from scheduled_tasks.models import Execution, Task

#: Executions.
SIZE = 1_000_000
SECONDS = 0.0
WITH_PEERS = False

#: How many times a page, and a list, is asked for.
PAGE_TIMES, LIST_TIMES = 10, 50
#: Ranges of dates: where they begin, as shares of the history, and how many days they last.
BEGINNINGS, DAYS = (0.05, 0.3, 0.5, 0.7, 0.9), (1, 3, 7)


def cases(plan: Plan) -> list[Case]:
    """Return the pages that people look at most, and the lists that have an index."""

    def case(kind: str, what: str, measure: Callable[[], Figures]) -> Case:
        labels = {"kind": kind, "what": what, "executions": f"{plan.size:,}"}
        return Case(labels=labels, measure=measure)

    return [
        *(
            case("page", name, functools.partial(ask, url, plan.size))
            for name, url in PAGES.items()
        ),
        *(
            case("list", name, functools.partial(fetch, rows, plan.size))
            for name, rows in LISTS.items()
        ),
    ]


def ask(address: Callable[[], str], size: int) -> Figures:
    """Ask for a page, and return how long it took and how many queries it made."""
    store(size)
    client, url = client_of_superuser(), address()

    def get() -> int:
        response = client.get(url)
        if response.status_code != HTTPStatus.OK:
            raise NotMeasuredError(f"{url} answered {response.status_code}")
        return response.status_code

    return timed(get, PAGE_TIMES)


def fetch(lists: Callable[[], list[QuerySet[Any]]], size: int) -> Figures:
    """Fetch a page and its capped count, of each list in turn, and return how long both took."""
    store(size)
    admin = ExecutionAdmin(Execution, site)
    in_turn = itertools.cycle(lists())

    def page() -> int:
        rows = next(in_turn).all()
        if rows.model is Execution:
            rows = admin.for_lists(rows)
        paginator = CappedPaginator(rows, admin.list_per_page)
        return paginator.count + len(paginator.page(1))

    return timed(page, LIST_TIMES)


def timed(measured: Callable[[], int], times: int) -> Figures:
    """Do something once, then that many times; the first time does not count."""
    measured()
    durations = []
    for _ in range(times):
        with CaptureQueriesContext(connection) as captured:
            begun = time.perf_counter()
            measured()
            durations.append((time.perf_counter() - begun) * 1000)
    return {
        "median ms": median(durations),
        "p95 ms": percentile(durations, 0.95),
        "queries": len(captured),
    }


@functools.cache
def client_of_superuser() -> Client:
    """Return the client of a user who may see everything."""
    client = Client()
    client.force_login(User.objects.create_superuser("history"))
    return client


def list_url(of: str, query: str = "") -> str:
    return reverse(f"admin:scheduled_tasks_{of}_changelist") + query


def page_url(row: Execution | Task) -> str:
    return reverse(f"admin:{row._meta.label_lower.replace('.', '_')}_change", args=[row.pk])  # noqa: SLF001


def busy_task() -> Task:
    return Task.objects.earliest("pk")


def newest() -> Execution:
    return Execution.objects.latest("pk")


def ranges() -> list[QuerySet[Execution]]:
    first, last = Execution.objects.earliest("pk").scheduled_for, newest().scheduled_for
    starts = [first + (last - first) * share for share in BEGINNINGS]
    return [
        scheduled_between(start, start + timedelta(days=days))
        for start, days in itertools.product(starts, DAYS)
    ]


def scheduled_between(start: datetime, end: datetime) -> QuerySet[Execution]:
    """Return what was scheduled from a moment until before another, the latest first."""
    rows = Execution.objects.filter(scheduled_for__gte=start, scheduled_for__lt=end)
    return rows.order_by("-scheduled_for", "-pk")


def by_status(**which: Any) -> list[QuerySet[Execution]]:
    return [Execution.objects.filter(**which)]


#: Filters and searches that find little, or nothing.
RARE = (
    "status=missed",
    "status__exact=cancelled",
    "trigger__exact=manual",
    "test_mode__exact=1",
    "q=zzz",
    f"q={DELETED_TASK}",
    "q=task-17",
)
PAGES = {
    "executions": lambda: list_url("execution"),
    "executions that failed": lambda: list_url("execution", "?status__exact=failed"),
    "executions of one task": lambda: list_url("execution", f"?task={busy_task().pk}"),
    **{
        f"executions, ?{query}": functools.partial(list_url, "execution", f"?{query}")
        for query in RARE
    },
    "executions cancelled, of one task": lambda: list_url(
        "execution", f"?task={busy_task().pk}&status=cancelled"
    ),
    "one execution": lambda: page_url(newest()),
    "tasks": lambda: list_url("task"),
    "one task": lambda: page_url(busy_task()),
}
LISTS: dict[str, Callable[[], list[QuerySet[Any]]]] = {
    "failed": lambda: by_status(status="failed"),
    "missed": lambda: by_status(status="missed"),
    "cancelled": lambda: by_status(status="cancelled"),
    "failed, of the busy task": lambda: by_status(status="failed", task=busy_task()),
    "cancelled, of the busy task": lambda: by_status(status="cancelled", task=busy_task()),
    "a range of dates": ranges,
    "of a deleted task": lambda: [task_history(DELETED_TASK)],
    "warnings in one log": lambda: [newest().log_lines.filter(level__gte=logging.WARNING)],
}
