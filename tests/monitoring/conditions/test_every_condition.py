"""Every condition of docs/alerts.md is raised once and cleared once, however many scan at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import claiming, ending, firing, reaping
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Alert, Delivery, Execution, Task, TaskState, Worker
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from scheduled_tasks.monitoring.conditions.durations import MIN_RUNS
from scheduled_tasks.monitoring.rollups.folding import fold_all
from scheduled_tasks.runtime.runs import Outcome
from tests.support.attempts import NOTHING, claim, make_worker, outcome
from tests.support.processes import ROOT
from tests.support.threads import in_parallel

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
#: So far apart everything is looked at anew.
AGAIN = 6 * MINUTE
#: Nothing raises them yet, or they are never open.
NOT_LOOKED_AT = {"service_down", "rate_limit", "success"}
#: When to scan, and whether each alert of the condition is open then.
Moment = tuple[datetime, list[bool]]

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing", "notifiers"),
]


@dataclass(frozen=True, slots=True)
class Stage:
    """What a condition is made of: a worker, tasks, and the moment at which it begins."""

    worker: Worker
    now: datetime
    make_task: Callable[..., Task]

    def make(self, schedule: str = "", **fields: Any) -> Task:
        """Make the task, which may run next to itself."""
        return self.make_task("a", NOTHING, schedule, overlap_policy="allow", **fields)

    def run(self, at: datetime, status: str = "success", seconds: float = 0) -> None:
        """Run the task once, with this end after so many seconds."""
        run_task_now("a", now=at)
        row = claim(self.worker, at)
        end = at + seconds * SECOND
        ending.end([lasted(row, at, end, status)], self.worker, end)

    def settle(self, at: datetime) -> None:
        """Fire, run and end successfully all that is due."""
        firing.fire(at, limit=9)
        rows = claiming.claim(self.worker, at, limit=9, handlers=[NOTHING]).rows
        ending.end([outcome(row, at) for row in rows], self.worker, at)


def lasted(row: Execution, start: datetime, end: datetime, status: str) -> Outcome:
    return Outcome(
        execution_id=row.pk,
        attempt=row.attempt,
        status=status,
        started_at=start,
        finished_at=end,
        duration_ms=round((end - start).total_seconds() * 1000),
    )


def failed(on: Stage) -> Iterator[Moment]:
    on.make(notify_on=["failed"])
    on.run(on.now, "failed")
    yield on.now, [True]
    TaskState.objects.update(consecutive_failures=0)
    yield on.now + AGAIN, [False]


def dead_letter(on: Stage) -> Iterator[Moment]:
    on.make(notify_on=["dead_letter"])
    on.run(on.now, "failed")
    yield on.now, [True]
    Execution.objects.update(resolved_at=on.now)
    yield on.now + AGAIN, [False]


def partial(on: Stage) -> Iterator[Moment]:
    on.make(notify_on=["partial"])
    on.run(on.now, "partial")
    yield on.now, [True]
    on.run(on.now + MINUTE)
    yield on.now + AGAIN, [False]


def parked(on: Stage) -> Iterator[Moment]:
    task = on.make("every 1 hour")
    in_transaction(
        lambda: park(task.state, "It is broken.", on.now, using="default"), using="default"
    )
    yield on.now, [True]
    TaskState.objects.update(parked_at=None)
    yield on.now + AGAIN, [False]


def missed(on: Stage) -> Iterator[Moment]:
    on.make("every 1 hour", notify_on=["missed"])
    yield on.now + HOUR + MINUTE, []
    yield on.now + HOUR + MINUTE + SECOND, [True]
    on.settle(on.now + HOUR + AGAIN)
    yield on.now + HOUR + AGAIN, [True]
    on.settle(on.now + 2 * HOUR)
    yield on.now + 2 * HOUR, [False]


def not_started(on: Stage) -> Iterator[Moment]:
    on.make("every 1 hour", start_within=10)
    firing.fire(on.now + HOUR, limit=9)
    yield on.now + HOUR + 10 * SECOND, []
    yield on.now + HOUR + 11 * SECOND, [True]
    on.settle(on.now + HOUR + MINUTE)
    yield on.now + HOUR + MINUTE, [True]
    on.settle(on.now + 2 * HOUR)
    yield on.now + 2 * HOUR, [False]


def no_success(on: Stage) -> Iterator[Moment]:
    on.make(no_success_for=3600)
    Task.objects.update(created_at=on.now)
    yield on.now + HOUR, []
    yield on.now + HOUR + MINUTE, [True]
    on.run(on.now + HOUR + MINUTE)
    yield on.now + HOUR + AGAIN, [False]


def running_long(on: Stage) -> Iterator[Moment]:
    on.make(max_runtime=60)
    run_task_now("a", now=on.now)
    row = claim(on.worker, on.now)
    yield on.now + MINUTE, []
    yield on.now + MINUTE + SECOND, [True]
    ending.end([outcome(row, on.now + AGAIN)], on.worker, on.now + AGAIN)
    yield on.now + AGAIN, [False]


def too_fast(on: Stage) -> Iterator[Moment]:
    on.make("every 1 hour", notify_on=["too_fast"])
    for _ in range(MIN_RUNS):
        on.run(on.now, seconds=20)
    fold_all()
    yield on.now + MINUTE, []
    on.run(on.now + MINUTE, seconds=1)
    yield on.now + AGAIN, [True]
    on.run(on.now + AGAIN, seconds=20)
    yield on.now + 2 * AGAIN, [False]


def over_interval(on: Stage) -> Iterator[Moment]:
    on.make("every 1 minute", notify_on=["over_interval"])
    for _ in range(MIN_RUNS):
        on.run(on.now, seconds=90)
    fold_all()
    yield on.now + 2 * MINUTE, [True]
    Task.objects.update(schedule="every 1 hour")
    yield on.now + 2 * AGAIN, [False]


def worker_lost(on: Stage) -> Iterator[Moment]:
    on.make()
    run_task_now("a", now=on.now)
    claim(on.worker, on.now)
    in_parallel([lambda: reaping.mark_lost({on.worker.pk: on.worker.heartbeat_at}, on.now)] * 3)
    yield on.now, [True]
    reaping.reap(on.now)
    yield on.now + AGAIN, [True]
    other = make_worker("second", on.now)
    row = claim(other, on.now + AGAIN)
    ending.end([outcome(row, on.now + AGAIN)], other, on.now + AGAIN)
    yield on.now + 2 * AGAIN, [False]


def too_few_workers(on: Stage) -> Iterator[Moment]:
    yield on.now, []
    yield on.now + MINUTE, [True]
    make_worker("second", on.now)
    yield on.now + AGAIN, [False]


def scheduler_behind(on: Stage) -> Iterator[Moment]:
    on.make("every 1 hour")
    yield on.now + HOUR + MINUTE, []
    yield on.now + HOUR + MINUTE + SECOND, []
    yield on.now + HOUR + MINUTE + 6 * SECOND, [True]
    on.settle(on.now + HOUR + AGAIN)
    yield on.now + HOUR + AGAIN, [False]


def invariant(on: Stage) -> Iterator[Moment]:
    on.make("every 1 day")
    TaskState.objects.update(next_run_at=None)
    Worker.objects.update(started_at=on.now - HOUR)
    yield on.now, []
    yield on.now + AGAIN, [True]
    TaskState.objects.update(next_run_at=on.now + 24 * HOUR)
    yield on.now + 2 * AGAIN, [False]


@pytest.fixture
def stage(worker: Worker, now: datetime, make_task: Callable[..., Task]) -> Stage:
    return Stage(worker, now, make_task)


STORIES = {
    story.__name__: story
    for story in (
        *(failed, dead_letter, partial, parked, missed, not_started, no_success, running_long),
        *(too_fast, over_interval, worker_lost, too_few_workers, scheduler_behind, invariant),
    )
}
MANY = [pytest.param(workers, marks=pytest.mark.long) for workers in (1, 10)]


@pytest.mark.parametrize("workers", [3, *MANY])
@pytest.mark.parametrize("condition", STORIES)
def test_it_is_raised_and_cleared_once(
    stage: Stage, settings: Any, condition: str, workers: int
) -> None:
    settings.SCHEDULED_TASKS |= {"CONDITIONS": {"too_few_workers": {"workers": 2}}}
    scans = [ConditionScan() for _ in range(workers)]
    for at, expected in STORIES[condition](stage):
        Worker.objects.update(heartbeat_at=at, declaration_digest="tests")
        in_parallel([lambda scan=scan, at=at: scan.run(at) for scan in scans])  # type: ignore[misc]
        assert is_open(condition) == expected
    assert sent(condition) == {
        ("raised", "ops"): 1,
        ("raised", "boss"): 1,
        ("cleared", "ops"): 1,
        ("cleared", "boss"): 1,
    }


def is_open(condition: str) -> list[bool]:
    rows = Alert.objects.filter(condition=condition).order_by("raised_at")
    return [row.open_key is not None for row in rows]


def sent(condition: str) -> dict[tuple[str, str], int]:
    """Return how many messages wait, by event and notifier."""
    rows = list(Delivery.objects.filter(alert__condition=condition))
    found = [(row.event, row.target) for row in rows]
    return {each: found.count(each) for each in found}


def test_every_documented_condition_is_tried() -> None:
    page = (ROOT / "docs/alerts.md").read_text()
    table = page.partition("## Conditions")[2].partition("\n## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert documented - NOT_LOOKED_AT == set(STORIES)
