"""Slots that nobody fires, and what only looks like one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from scheduled_tasks.worker.scheduler import Scheduler
from tests.monitoring.fleet import DAY, HOUR, MINUTE, SECOND, make_scheduler
from tests.monitoring.invariants.scene import NEW, found
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


def test_a_slot_that_nobody_fires_is_found(task: Task, slot: datetime) -> None:
    late = slot + 61 * SECOND
    make_scheduler(late)
    assert found(late - SECOND) == []
    [violation] = scan_invariants(late)
    assert (violation.key, violation.task_id) == (f"not_fired:{task.pk}", task.pk)
    assert violation.message == (
        "Task night was due at 2026-03-01 12:05:00 UTC and has not been fired, although a worker "
        "that knows its handler is alive."
    )


@pytest.mark.parametrize(
    "worker",
    [
        {"up": 30 * SECOND},
        {"silent": 2 * MINUTE},
        {"handlers": []},
        {"state": "stopping"},
        {"state": "stopped"},
        {"declaration_digest": ""},
    ],
    ids=str,
)
@pytest.mark.usefixtures("task")
def test_a_slot_waits_for_who_can_fire(slot: datetime, worker: dict[str, Any]) -> None:
    """A worker that has just started, is gone, stops, runs old code, or is ``runtask``."""
    make_scheduler(slot + 3 * MINUTE, **worker)
    assert found(slot + 3 * MINUTE) == []


def test_disabled_and_parked_tasks_are_not_due(make_task: Make, slot: datetime) -> None:
    make_scheduler(slot + HOUR)
    disabled = make_task("disabled", NOTHING, "every 5 minutes")
    Task.objects.filter(pk=disabled.pk).update(enabled=False)
    parked = make_task("parked", NOTHING, "every 5 minutes")
    park(parked.state, "It cannot run.", slot, using="default")
    make_task("by-hand", NOTHING)
    assert found(slot + HOUR) == []


def test_a_working_scheduler_breaks_nothing(
    task: Task, make_task: Make, scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    """Not while everything or a task is paused, and not after an outage of a day."""
    make_task("paused", NOTHING, "every 1 minute", paused_until=now + HOUR)
    working = scheduler()
    for minute in range(20):
        if minute == 10:
            begin_pause(now + minute * MINUTE, until=now + 15 * MINUTE)
        working.tick(now + minute * MINUTE)
        assert found(now + minute * MINUTE) == []
    Worker.objects.update(heartbeat_at=now + 20 * MINUTE)
    assert found(now + DAY) == []
    restarted = scheduler()
    restarted.engine.start(now + DAY)
    assert found(now + DAY) == []
    restarted.tick(now + DAY)
    assert found(now + DAY) == []
    assert Execution.objects.filter(task=task).exists()


@pytest.mark.long
def test_a_rolling_deploy_breaks_nothing(
    orphan: Task,
    scheduler: Callable[..., Scheduler],
    registry: HandlerRegistry,
    now: datetime,
) -> None:
    """Old workers do not know the handler, park its task in the end, and the new ones unpark it."""
    old = scheduler()
    for minute in range(30):
        old.tick(now + minute * MINUTE)
        assert found(now + minute * MINUTE) == []
    assert TaskState.objects.get().parked_at is not None

    @scheduled_task(name=NEW)
    def of_the_next_release() -> None: ...

    for minute in range(30, 40):
        old.tick(now + minute * MINUTE)
        if minute == 30:
            new = scheduler()
        new.tick(now + minute * MINUTE)
        assert found(now + minute * MINUTE) == []
    assert Execution.objects.filter(task=orphan, status="success").exists()
