"""What is read of rollups: figures of tasks, and how long their runs take."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.models import RollupEntry
from scheduled_tasks.models.rollup_entry import RollupEntryQuerySet
from scheduled_tasks.monitoring.rollups import figures as reading
from scheduled_tasks.monitoring.rollups import recording as rollups
from scheduled_tasks.monitoring.rollups.figures import figures, learned
from scheduled_tasks.monitoring.rollups.folding import fold_all
from scheduled_tasks.monitoring.rollups.recording import Fact, TaskFact, hour_of

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def append(moment: datetime, *durations: int, task: int = 1) -> None:
    facts = (
        TaskFact(task, f"task-{task}", Fact(hour_of(moment), "success", duration_ms=duration))
        for duration in durations
    )
    rollups.record(facts, using="default")


def test_durations_are_summed_up(now: datetime) -> None:
    append(now, 100, 200, 300, 10_000)
    [found] = figures(since=now, until=now + HOUR)
    assert (found.average_ms, found.max_ms, found.count) == (2_650, 10_000, 4)
    assert found.p50_ms == pytest.approx(200, rel=0.15)
    assert found.p99_ms == pytest.approx(10_000, rel=0.15)


def test_without_runs_nothing_is_said(now: datetime) -> None:
    rollups.record([rollups.covered(1, "a", "skipped", slots=3, at=now)], using="default")
    [found] = figures(since=now, until=now + HOUR)
    assert (found.average_ms, found.max_ms, found.p50_ms, found.reliability) == (None,) * 4
    assert found.counts["skipped"] == 3


def test_only_the_tasks_asked_for_are_told(now: datetime) -> None:
    append(now, 1, task=1)
    append(now, 1, task=2)
    fold_all()
    append(now, 1, task=3)
    told = figures(since=now, until=now + HOUR, tasks=[2, 3])
    assert [each.task for each in told] == ["task-2", "task-3"]
    assert len(figures(since=now, until=now + HOUR)) == 3
    assert figures(since=now, until=now + HOUR, tasks=[]) == []


def test_a_day_is_told_from_its_begin(now: datetime) -> None:
    append(now - 3 * HOUR, 1)
    fold_all()
    append(now + HOUR, 1)
    [found] = figures(since=now, until=now + DAY, resolution="day")
    assert (found.start.hour, found.count) == (0, 2)


def test_what_is_folded_meanwhile_is_told_once(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker folds after the entries were read, and before the rollups are."""
    append(now, 1)
    pending, folds = reading.pending_entries, []

    def fold_after_reading(entries: RollupEntryQuerySet) -> list[RollupEntry]:
        found = pending(entries)
        folds.append(fold_all())
        return found

    monkeypatch.setattr(reading, "pending_entries", fold_after_reading)
    [found] = figures(since=now, until=now + HOUR)
    assert (folds, found.count) == ([1, 0], 1)


def test_durations_are_learned_of_fourteen_days(now: datetime) -> None:
    append(now - 15 * DAY, *[50_000] * 100)
    for days in range(14):
        append(now - days * DAY, *range(100, 200))
    append(now, 5, task=2)
    append(now - DAY, 7, task=2)
    fold_all()
    found = learned([1, 2, 3], now)
    assert found.keys() == {1, 2}
    assert found[1].runs == 1_400
    assert found[1].p50_ms == pytest.approx(150, rel=0.15)
    assert found[1].p95_ms == pytest.approx(195, rel=0.15)
    assert found[2].runs == 2


def test_learning_takes_one_query(now: datetime) -> None:
    for task in range(1, 30):
        append(now, 5, task=task)
    fold_all()
    with CaptureQueriesContext(connection) as captured:
        assert len(learned(range(1, 30), now)) == 29
    assert len(captured) == 1


def test_runs_without_a_duration_teach_nothing(now: datetime) -> None:
    rollups.record([rollups.covered(1, "a", "missed", slots=3, at=now)], using="default")
    fold_all()
    assert learned([1], now) == {}
    assert reading.LEARNING_DAYS == 14
