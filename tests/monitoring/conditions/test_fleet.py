"""What alerts say of the schedulers as a whole, and of broken invariants."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks.lifecycle import firing
from scheduled_tasks.models import Alert, Task, Worker
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.alerts.scan import ConditionScan, Watched
from scheduled_tasks.monitoring.conditions import fleet
from scheduled_tasks.monitoring.conditions.confirmed import Confirmed
from tests.support.attempts import NOTHING

Make = Callable[..., Task]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.usefixtures("nothing")


def beat(now: datetime) -> None:
    Worker.objects.update(heartbeat_at=now, declaration_digest="tests")


def messages(find: Callable[..., Any], now: datetime) -> list[str]:
    return [each.message for each in find(now, using="default")]


def test_too_few_workers_are_told_where_wanted(
    worker: Worker, now: datetime, settings: Any
) -> None:
    beat(now)
    assert messages(fleet.too_few_workers, now + HOUR) == []
    settings.SCHEDULED_TASKS = {"CONDITIONS": {"too_few_workers": {"workers": 2}}}
    assert messages(fleet.too_few_workers, now) == ["Only 1 scheduler is alive. There should be 2."]
    settings.SCHEDULED_TASKS = {"CONDITIONS": {"too_few_workers": True}}
    assert messages(fleet.too_few_workers, now) == []
    assert messages(fleet.too_few_workers, now + HOUR) == [
        "No scheduler is alive. There should be 1."
    ]


def test_a_scheduler_behind_is_told(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour")
    Worker.objects.update(started_at=now)
    beat(now + HOUR + MINUTE)
    assert messages(fleet.scheduler_behind, now + HOUR + MINUTE) == []
    late = now + HOUR + MINUTE + timedelta(seconds=1)
    [message] = messages(fleet.scheduler_behind, late)
    assert "Task a was due at 2026-03-01 13:00:00 UTC" in message
    firing.fire(late, limit=9)
    assert "Execution #" in messages(fleet.scheduler_behind, late)[0]


def test_what_a_new_worker_finds_is_not_behind(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, "every 1 hour")
    late = now + 5 * HOUR
    Worker.objects.update(started_at=late - MINUTE / 2)
    beat(late)
    assert fleet.scheduler_behind(late, using="default") is None


def test_only_what_two_scans_find_is_told(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour")
    watch = Confirmed("invariant", fleet.invariants)
    late = now + 2 * HOUR
    beat(late)
    assert not any("Task a was due" in each for each in messages(watch.find, late))
    assert any("Task a was due" in each for each in messages(watch.find, late + MINUTE / 6))
    beat(late + MINUTE)
    firing.fire(late + MINUTE, limit=9)
    assert not any("Task a was due" in each for each in messages(watch.find, late + MINUTE))


def test_another_scanner_clears_no_invariant(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, "every 1 hour")
    late = now + 2 * HOUR
    beat(late)
    first, second = (
        ConditionScan([Watched("invariant", Confirmed("invariant", fleet.invariants).find)])
        for _ in "ab"
    )
    first.run(late)
    first.run(late + MINUTE / 6)
    second.run(late + MINUTE / 3)
    rows = Alert.objects.filter(condition="invariant", subject__startswith="not_fired")
    assert [row.cleared_at for row in rows] == [None]


def too_few(now: datetime, *, using: str) -> list[Finding] | None:
    """Find that no scheduler is there in the first ten minutes; then nobody can tell."""
    found = Finding(condition="too_few_workers", message="None is alive.")
    return [found] if now < NOON + 10 * MINUTE else None


def test_what_passes_within_the_time_is_not_told(db: None) -> None:
    found = Confirmed("too_few_workers", too_few, seconds=lambda: 60)
    told = [bool(found.find(NOON + n * MINUTE / 2, using="default")) for n in range(4)]
    assert told == [False, False, True, True]
    assert found.find(NOON + HOUR, using="default") is None
    assert found.find(NOON, using="default") == []


def test_a_clock_set_back_delays_it_once(db: None) -> None:
    found = Confirmed("too_few_workers", too_few, seconds=lambda: 60)
    told = [bool(found.find(NOON + n * MINUTE, using="default")) for n in (5, 0, 1)]
    assert told == [False, False, True]
