"""How long a run will still take: by the runs before it, and the more it has done, by its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.estimates import MAX_EXAMINED, MAX_SAMPLES, part_done, remaining

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def task(nothing: None, make_task: Callable[..., Task]) -> Task:
    return make_task("import", "jobs.nothing")


@pytest.fixture
def running(task: Task, now: datetime) -> Execution:
    execution = Execution.for_task(task, trigger="manual", now=now)
    execution.status, execution.started_at = "running", now
    execution.save()
    return execution


def ran(task: Task, now: datetime, *minutes: float, status: str = "success", **fields: Any) -> None:
    for each in minutes:
        execution = Execution.for_task(task, trigger="manual", now=now)
        execution.status = status
        execution.duration_ms = round(each * 60_000)
        for name, value in fields.items():
            setattr(execution, name, value)
        execution.save()


def left(execution: Execution, now: datetime, done: float | None = None) -> float | None:
    """Return how many minutes are left of a run of which so much, of 100, is done."""
    execution.progress = None if done is None else {"done": done, "total": 100, "text": ""}
    estimate = remaining(execution, now)
    return None if estimate is None else round(estimate / MINUTE, 2)


def test_a_first_silent_run_has_no_estimate(running: Execution, now: datetime) -> None:
    assert left(running, now + MINUTE) is None
    assert left(running, now + MINUTE, 0) is None


def test_the_first_run_goes_by_its_own_pace(running: Execution, now: datetime) -> None:
    assert left(running, now + MINUTE, 25) == 3
    assert left(running, now + 4 * MINUTE, 100) == 0


def test_a_silent_run_is_estimated_from_earlier_ones(
    running: Execution, task: Task, now: datetime
) -> None:
    ran(task, now, 4, 10, 5, 1, 6)
    assert left(running, now + MINUTE) == 4
    assert left(running, now + 6 * MINUTE) is None, "it takes longer than usual"


def test_its_own_pace_counts_more_over_time(running: Execution, task: Task, now: datetime) -> None:
    ran(task, now, 10)
    assert left(running, now, 0) == 10
    assert left(running, now + 10 * MINUTE, 50) == 7.5, "half of 20 by its own pace, half of 10"
    assert left(running, now + 18 * MINUTE, 90) == 1.9


def test_only_what_succeeded_in_earnest_lately_counts(
    running: Execution, task: Task, now: datetime
) -> None:
    ran(task, now, 500)
    ran(task, now, *[300] * MAX_EXAMINED, status="failed")
    assert left(running, now) is None
    ran(task, now, *[100] * MAX_SAMPLES, *[4] * MAX_SAMPLES)
    ran(task, now, 7, 7, 7, test_mode=True)
    assert left(running, now) == 4


def test_numbers_beyond_all_measure_harm_nobody(
    running: Execution, task: Task, now: datetime
) -> None:
    running.progress = {"done": 1, "total": 10**30, "text": ""}
    assert remaining(running, now + MINUTE) is None
    ran(task, now, 10)
    assert left(running, now + MINUTE, 1e-300) is not None


def test_what_does_not_run_takes_no_time(running: Execution, now: datetime) -> None:
    running.status = "success"
    assert left(running, now + MINUTE, 50) is None


@pytest.mark.parametrize(
    ("progress", "part"),
    [
        (None, None),
        ({"done": 1, "total": None, "text": ""}, None),
        ({"done": 1, "total": 0, "text": ""}, None),
        ({"done": "nan", "total": 5, "text": ""}, None),
        ({"done": 7, "total": 5, "text": ""}, 1),
        ({"done": -7, "total": 5, "text": ""}, 0),
        ([1, 2], None),
    ],
)
def test_strange_progress_is_no_part(progress: Any, part: float | None) -> None:
    assert part_done(progress) == part
