"""Each index of the history serves a query, on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.db.models import QuerySet

from scheduled_tasks import register_task, task_history, unregister_task
from scheduled_tasks.models import Execution, Task

pytestmark = pytest.mark.django_db

#: Enough that no database prefers to read all of them.
ROWS = 6_000
CAUSE = f"{0:032}"


@pytest.fixture
def history(now: datetime) -> Task:
    """Store executions of three tasks, most of them successes or queued."""
    gone, daily, task = (register_task(name, "cleanup") for name in ("gone", "daily", "weekly"))
    rows = []
    for number in range(ROWS):
        slot = now - timedelta(minutes=ROWS - number)
        row = Execution.for_task(
            task if number % 50 else daily, trigger="schedule", now=slot, slot=slot
        )
        row.status = "success"
        rows.append(row)
    for row in rows[::600]:
        row.status = "missed"
    for number, row in enumerate(rows[1::40]):
        row.status, row.error_fingerprint = "failed", f"{number:032}"
    for row in rows[2::600]:
        row.task, row.task_name = gone, gone.name
    for row in rows[3::600]:
        row.status, row.worker = "running", "w1"
    for row in rows[5::6]:
        row.status = "queued"
    Execution.objects.bulk_create(rows)
    first = Execution.objects.earliest("pk")
    Execution.objects.filter(pk__lt=first.pk + 5).exclude(pk=first.pk).update(requeue_of=first)
    unregister_task("gone")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduled_tasks_execution")
    return task


def daily() -> Task:
    """Return a task with few of the executions, so that its status alone finds too many."""
    return Task.objects.get(name="daily")


def scheduled(task: Task) -> QuerySet[Execution]:
    start = Execution.objects.order_by("pk")[ROWS // 2].scheduled_for
    end = start + timedelta(hours=1)
    rows = Execution.objects.filter(scheduled_for__gte=start, scheduled_for__lt=end)
    return rows.order_by("-scheduled_for", "-pk")


#: What each index is for. Successes, and what has no filter, are read by the primary key.
QUERIES: dict[str, Callable[[Task], QuerySet[Execution]]] = {
    "history": lambda task: task_history("daily"),
    "status": lambda _: Execution.objects.filter(status="missed"),
    "task_status": lambda _: Execution.objects.filter(task=daily(), status="failed"),
    "scheduled": scheduled,
    "deleted_task": lambda _: task_history("gone"),
    "dead": lambda _: Execution.objects.dead(),
    "fingerprint": lambda _: Execution.objects.dead().filter(error_fingerprint=CAUSE),
    "requeued": lambda _: Execution.objects.filter(requeue_of=Execution.objects.earliest("pk")),
    "queued": lambda _: Execution.objects.queued().order_by("-priority", "pk"),
    "waiting": lambda _: Execution.objects.queued().order_by("run_after"),
    "running": lambda _: Execution.objects.held_by("w1"),
    "unfinished": lambda task: Execution.objects.unfinished().filter(task=task).order_by(),
}

#: What a database may prefer while there are as few rows as here.
INSTEAD = {"status": ["task_status"], "dead": ["status", "fingerprint"]}


def test_each_index_serves_a_query(history: Task) -> None:
    plans = {name: query(history)[:50].explain() for name, query in QUERIES.items()}
    unserved = {
        name: plan
        for name, plan in plans.items()
        if not any(f"tasks_{index}" in plan for index in (name, *INSTEAD.get(name, ())))
    }
    assert unserved == {}


def test_no_index_is_without_a_query() -> None:
    names = {index.name for index in Execution._meta.indexes}
    assert names == {f"scheduled_tasks_{name}" for name in QUERIES}
