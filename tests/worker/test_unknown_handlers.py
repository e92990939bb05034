"""Slots of handlers that no worker knows yet, as in a rolling deploy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle import batches
from scheduled_tasks.models import Alert, Execution, Task, TaskChange, TaskState
from scheduled_tasks.worker import maintenance
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def of_next_release(make_task: Make, now: datetime) -> Task:
    """Return a task that a deploy has just made, whose handler no worker knows yet."""
    task = make_task("new", "jobs.nothing", "every 5 minutes")
    Task.objects.filter(pk=task.pk).update(handler="jobs.of_the_next_release")
    TaskChange.objects.update(changed_at=now)
    return task


def release(registry: HandlerRegistry) -> None:
    """Let the workers that start from now on know the handler."""

    def of_the_next_release() -> None:
        """Do nothing."""

    registry.register(of_the_next_release, name="jobs.of_the_next_release")


def decided(task: Task) -> list[tuple[str, int]]:
    rows = Execution.objects.filter(task=task).order_by("slot")
    return list(rows.values_list("status", "slots"))


@pytest.mark.parametrize("minutes", [8, 32])
def test_slots_wait_for_a_worker_with_their_handler(
    minutes: int,
    of_next_release: Task,
    scheduler: MakeScheduler,
    registry: HandlerRegistry,
    now: datetime,
) -> None:
    old = scheduler()
    for minute in range(minutes):
        old.tick(now + minute * MINUTE)
    state = of_next_release.state
    state.refresh_from_db()
    assert bool(state.parked_at) == (minutes > 10), "the grace counts from when the task was made"
    assert decided(of_next_release) == []
    release(registry)
    scheduler().tick(now + minutes * MINUTE)
    state.refresh_from_db()
    assert (state.parked_at, state.resume_at) == (None, None)
    slots = minutes // 5
    missed = [("missed", slots - 1)] if slots > 1 else []
    assert decided(of_next_release) == [*missed, ("success", 1)]


def test_an_edit_forgets_where_a_parked_clock_stood(
    of_next_release: Task, scheduler: MakeScheduler, registry: HandlerRegistry, now: datetime
) -> None:
    scheduler().tick(now + 11 * MINUTE)
    of_next_release.refresh_from_db()
    of_next_release.schedule = "every 7 minutes"
    of_next_release.save(now=now + 12 * MINUTE)
    release(registry)
    scheduler().tick(now + 13 * MINUTE)
    assert decided(of_next_release) == []
    scheduler().tick(now + 19 * MINUTE)
    assert decided(of_next_release) == [("success", 1)]


@pytest.mark.parametrize("gone", [{"enabled": False}, {"schedule": ""}])
def test_edits_by_old_code_keep_no_task_parked(
    gone: dict[str, Any],
    of_next_release: Task,
    scheduler: MakeScheduler,
    registry: HandlerRegistry,
    now: datetime,
) -> None:
    scheduler().tick(now + 11 * MINUTE)
    of_next_release.refresh_from_db()
    before = {name: getattr(of_next_release, name) for name in ("enabled", "schedule", "anchor")}
    for minute, values in ((12, gone), (13, before)):
        for name, value in values.items():
            setattr(of_next_release, name, value)
        of_next_release.save(now=now + minute * MINUTE)
    assert of_next_release.state.parked_at is not None
    release(registry)
    scheduler().tick(now + 14 * MINUTE)
    assert decided(of_next_release) == []
    scheduler().tick(now + 16 * MINUTE)
    assert decided(of_next_release) == [("success", 1)]


def test_many_tasks_are_parked_in_several_rounds(
    make_task: Make,
    scheduler: MakeScheduler,
    registry: HandlerRegistry,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "MAX_TASKS_PER_ROUND", 5)
    monkeypatch.setattr(batches, "BATCH_SIZE", 2)
    for number in range(7):
        make_task(f"new-{number}", NOTHING, "every 5 minutes")
    Task.objects.update(handler="jobs.of_the_next_release")
    TaskChange.objects.update(changed_at=now)
    parked = TaskState.objects.filter(parked_at__isnull=False)
    open_alerts = Alert.objects.open().filter(condition="parked")
    counts = []
    old = scheduler()
    for seconds in (600, 605):
        old.tick(now + timedelta(seconds=seconds))
        counts.append((parked.count(), open_alerts.count()))
    assert counts == [(5, 5), (7, 7)]
    release(registry)
    new = scheduler()
    for seconds in (620, 625):
        new.tick(now + timedelta(seconds=seconds))
        counts.append((parked.count(), open_alerts.count()))
    assert counts[2:] == [(2, 2), (0, 0)]


def test_tasks_are_parked_together(make_task: Make, now: datetime) -> None:
    """A statement for each of fifty thousand tasks would stop the worker for minutes."""
    for number in range(20):
        make_task(f"new-{number}", NOTHING, "every 5 minutes")
    ids = list(TaskState.objects.values_list("pk", flat=True))
    counts = []
    for some in (ids[:2], ids[2:]):
        with CaptureQueriesContext(connection) as found:
            maintenance.park_unknown(some, set(), now)
        said = [query["sql"] for query in found]
        counts.append(sum(not sql.startswith('UPDATE "scheduled_tasks_taskstate"') for sql in said))
    assert counts[0] == counts[1]
    assert Alert.objects.open().count() == 20
