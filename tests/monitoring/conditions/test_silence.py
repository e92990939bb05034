"""Tasks that have not succeeded for too long, and what excuses them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import disable_task, enable_task
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Alert, Task, TaskState, Worker
from tests.monitoring.scans import is_open, scan
from tests.support.attempts import NOTHING

Make = Callable[..., Task]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def test_a_task_that_never_succeeds_is_told(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, no_success_for=3600)
    make_task("other", NOTHING)
    Task.objects.update(created_at=now)
    scan(now + HOUR)
    assert is_open("no_success") == []
    scan(now + HOUR + SECOND)
    assert is_open("no_success") == [True]
    assert Alert.objects.get().message == (
        "It has not succeeded for 1 hour. It has never succeeded."
    )
    TaskState.objects.filter(task=task).update(last_success_at=now + HOUR)
    scan(now + HOUR + MINUTE)
    assert is_open("no_success") == [False]


@pytest.mark.parametrize("schedule", ["", "at 2026-03-01 12:00"])
def test_a_limit_for_all_excuses_tasks_without_slots(
    make_task: Make, worker: Worker, now: datetime, settings: Any, schedule: str
) -> None:
    settings.SCHEDULED_TASKS |= {"CONDITIONS": {"no_success": {"no_success_for": 3600}}}
    make_task("hourly", NOTHING, "every 1 hour")
    make_task("over", NOTHING, schedule)
    make_task("own", NOTHING, schedule, no_success_for=3600)
    TaskState.objects.exclude(task__name="hourly").update(next_run_at=None)
    Task.objects.update(created_at=now)
    scan(now + 2 * HOUR)
    told = Alert.objects.filter(condition="no_success").order_by("task_name")
    assert list(told.values_list("task_name", flat=True)) == ["hourly", "own"]
    TaskState.objects.update(next_run_at=None)
    scan(now + 3 * HOUR)
    assert [alert.cleared_because for alert in told.all()] == [
        "The schedule has no further slot.",
        "",
    ]


def test_a_pause_clears_nothing(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, no_success_for=3600)
    Task.objects.update(created_at=now)
    scan(now + 2 * HOUR)
    Task.objects.update(paused_until=now + 4 * HOUR)
    scan(now + 3 * HOUR)
    begin_pause(now + 3 * HOUR, until=now + 5 * HOUR, by="code")
    scan(now + 4 * HOUR)
    assert is_open("no_success") == [True]


@pytest.mark.parametrize("excuse", ["paused", "paused lately", "pause of all", "enabled lately"])
def test_a_task_that_could_not_succeed_is_excused(
    make_task: Make, worker: Worker, now: datetime, excuse: str
) -> None:
    make_task("a", NOTHING, no_success_for=3600)
    Task.objects.update(created_at=now)
    late = now + 2 * HOUR
    match excuse:
        case "paused":
            Task.objects.update(paused_until=late + HOUR)
        case "paused lately":
            Task.objects.update(paused_until=late - MINUTE)
        case "pause of all":
            begin_pause(now, until=late - MINUTE, by="code")
        case "enabled lately":
            disable_task("a")
            enable_task("a")
            Task.objects.get().changes.update(changed_at=late - MINUTE)
    scan(late)
    assert is_open("no_success") == []
    scan(late + 3 * HOUR)
    assert is_open("no_success") == [True]
