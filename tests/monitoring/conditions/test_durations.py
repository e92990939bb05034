"""Runs that take longer or shorter than they should, by a given limit or by the last 14 days."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import claiming, ending
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.conditions.durations import MIN_RUNS, Durations
from scheduled_tasks.monitoring.rollups.folding import fold_all
from scheduled_tasks.runtime.runs import Outcome
from tests.support.attempts import NOTHING, claim

Make = Callable[..., Task]
Find = Callable[..., Iterator[Finding]]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

pytestmark = pytest.mark.usefixtures("nothing")


def found(find: Find, now: datetime) -> list[str]:
    """Return the tasks that are found."""
    return [each.task.name for each in find(now, using="default") if each.task]


def run(worker: Worker, now: datetime, name: str, seconds: float, count: int = 1) -> None:
    """Let a task succeed, each time after these seconds, and fold that: it is learned from."""
    for _ in range(count):
        run_task_now(name, now=now)
    rows = claiming.claim(worker, now, limit=count, handlers=[NOTHING]).rows
    end = now + timedelta(seconds=seconds)
    ending.end([succeeded(row, now, end) for row in rows], worker, end)
    fold_all()


def succeeded(row: Execution, start: datetime, end: datetime) -> Outcome:
    return Outcome(
        execution_id=row.pk,
        attempt=row.attempt,
        status="success",
        started_at=start,
        finished_at=end,
        duration_ms=round((end - start).total_seconds() * 1000),
    )


def make(make_task: Make, condition: str, **fields: object) -> Task:
    """Make a task of which only this condition raises alerts."""
    given = {"notify_on": [condition], "overlap_policy": "allow", **fields}
    return make_task("a", NOTHING, "every 1 minute", **given)


def test_a_run_beyond_its_limit_is_found(make_task: Make, worker: Worker, now: datetime) -> None:
    make(make_task, "running_long", max_runtime=60)
    make_task("other", NOTHING)
    for name in ("a", "other"):
        run_task_now(name, now=now)
        claim(worker, now)
    assert found(Durations().running_long, now + MINUTE) == []
    assert found(Durations().running_long, now + MINUTE + SECOND) == ["a"]


def test_a_limit_of_the_settings_is_for_others(
    make_task: Make, worker: Worker, now: datetime, settings: object
) -> None:
    settings.SCHEDULED_TASKS = {"CONDITIONS": {"running_long": {"max_runtime": 30}}}  # type: ignore[attr-defined]
    make_task("a", NOTHING, max_runtime=60)
    make_task("b", NOTHING)
    for name in "ab":
        run_task_now(name, now=now)
        claim(worker, now)
    assert found(Durations().running_long, now + 31 * SECOND) == ["b"]
    assert found(Durations().running_long, now + 61 * SECOND) == ["a", "b"]


def test_a_limit_is_learned(make_task: Make, worker: Worker, now: datetime) -> None:
    make(make_task, "running_long")
    run(worker, now, "a", 20, MIN_RUNS - 1)
    durations = Durations()
    run_task_now("a", now=now + DAY)
    claim(worker, now + DAY)
    assert found(durations.running_long, now + DAY + 10 * MINUTE) == []
    run(worker, now, "a", 20)
    assert found(durations.running_long, now + DAY + 20 * MINUTE) == []
    assert found(Durations().running_long, now + DAY + 30 * SECOND) == []
    assert found(Durations().running_long, now + DAY + MINUTE) == ["a"]
    # What was learned is kept for an hour.
    assert found(durations.running_long, now + DAY + 80 * MINUTE) == ["a"]


def test_a_short_task_is_not_long_soon(make_task: Make, worker: Worker, now: datetime) -> None:
    make(make_task, "running_long")
    run(worker, now, "a", 0.01, MIN_RUNS)
    run_task_now("a", now=now)
    claim(worker, now)
    assert found(Durations().running_long, now + 10 * SECOND) == []
    assert found(Durations().running_long, now + 11 * SECOND) == ["a"]


def test_a_suspiciously_fast_success_is_found(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make(make_task, "too_fast")
    run(worker, now, "a", 20, MIN_RUNS)
    assert found(Durations().too_fast, now) == []
    run(worker, now, "a", 1.5)
    [finding] = Durations().too_fast(now, using="default")
    assert finding.message.startswith(f"Execution {finding.execution_id} succeeded after 1.5 s.")
    run(worker, now, "a", 3)
    assert found(Durations().too_fast, now) == []


def test_tasks_longer_than_their_interval_are_found(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make(make_task, "over_interval")
    run(worker, now, "a", 59, MIN_RUNS)
    assert found(Durations().over_interval, now) == []
    run(worker, now, "a", 90, 2 * MIN_RUNS)
    assert found(Durations().over_interval, now) == ["a"]
    Task.objects.filter(pk=task.pk).update(schedule="nonsense")
    assert found(Durations().over_interval, now) == []


@pytest.mark.parametrize("name", ["running_long", "too_fast", "over_interval"])
def test_nothing_is_found_where_it_is_off(
    make_task: Make, worker: Worker, now: datetime, name: str
) -> None:
    make_task("a", NOTHING, "every 1 minute", overlap_policy="allow")
    run(worker, now, "a", 90, MIN_RUNS)
    run(worker, now, "a", 0.001)
    run_task_now("a", now=now)
    claim(worker, now)
    assert found(getattr(Durations(), name), now + DAY) == []


@pytest.mark.parametrize("count", [1, 6])
@pytest.mark.parametrize(
    ("name", "queries"), [("running_long", 2), ("too_fast", 4), ("over_interval", 2)]
)
def test_many_tasks_take_as_few_queries(
    make_task: Make,
    worker: Worker,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_max_num_queries: Any,
    *,
    name: str,
    queries: int,
    count: int,
) -> None:
    monkeypatch.setattr("scheduled_tasks.monitoring.conditions.durations.MIN_RUNS", 1)
    names = [f"t{number}" for number in range(count)]
    for each in names:
        make_task(each, NOTHING, "every 1 second", notify_on=[name], overlap_policy="allow")
        run(worker, now, each, 60)
        if name == "too_fast":
            run(worker, now, each, 60)
            run(worker, now, each, 1)
        else:
            run_task_now(each, now=now)
            claim(worker, now)
    with django_assert_max_num_queries(queries):
        assert sorted(found(getattr(Durations(), name), now + HOUR)) == names
