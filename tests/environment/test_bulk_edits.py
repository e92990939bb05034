"""Thousands of tasks edited behind the engine's back while two workers fire them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.db.models import Count
from django.utils import timezone

from scheduled_tasks import register_task
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from tests.environment.surroundings import worker
from tests.support.lengths import short_and_long
from tests.support.processes import LONG, options, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

#: In seconds.
LEASE, EVERY = 4, 60


def make_tasks(count: int) -> None:
    """Make tasks that are due one after the other."""
    now = timezone.now().replace(microsecond=0)
    begin = [now + timedelta(seconds=number % EVERY) for number in range(count)]
    tasks = Task.objects.bulk_create(
        Task(
            name=f"task-{number}",
            handler="jobs.answer",
            schedule=f"every {EVERY} seconds",
            anchor=anchor,
        )
        for number, anchor in enumerate(begin)
    )
    TaskState.objects.bulk_create(
        TaskState(task=task, next_run_at=anchor) for task, anchor in zip(tasks, begin, strict=True)
    )


def update_all() -> None:
    """Update the whole table again and again: two who do that lock each other out."""
    for enabled in (False, True, False, True):
        Task.objects.update(enabled=enabled)
    Task.objects.update(schedule="every 50 seconds")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE scheduled_tasks_task SET schedule = 'every 40 seconds'")


def register() -> None:
    for number in range(40):
        register_task(f"task-{number}", handler="jobs.answer", schedule="every 30 seconds")


def save() -> None:
    for task in Task.objects.order_by("pk")[20:60]:
        task.save()


@pytest.mark.long
@pytest.mark.parametrize("count", short_and_long("BULK_TASKS", short=300, long=10_000))
def test_bulk_edits_lose_and_double_nothing(count: int) -> None:
    make_tasks(count)
    given = {"TEST_OPTIONS": options(EXECUTOR="thread", LEASE=LEASE)}
    errors: list[Exception] = []
    with worker(**given) as one, worker(**given) as other:
        editors = [
            threading.Thread(target=edit, args=(change, errors))
            for change in (update_all, register, save)
        ]
        for editor in editors:
            editor.start()
        for editor in editors:
            editor.join()
        # A clock that an update has stopped starts again within a lease.
        wait_until(lambda: not stopped_clocks(), within=LONG)
        assert {row.state for row in Worker.objects.all()} == {Worker.State.RUNNING}
        outputs = [one.stop(), other.stop()]
    assert errors == []
    assert not any("worker lost" in output or "database error" in output for output in outputs)
    assert not Execution.objects.filter(status="running").exists()
    per_slot = Execution.objects.of_slots().values("task", "slot").annotate(number=Count("pk"))
    assert not per_slot.filter(number__gt=1).exists()


def edit(change: Callable[[], None], errors: list[Exception]) -> None:
    try:
        change()
    except Exception as error:  # noqa: BLE001 -- the test reads it
        errors.append(error)
    finally:
        connections.close_all()


def stopped_clocks() -> bool:
    return TaskState.objects.filter(task__enabled=True, next_run_at=None).exists()
