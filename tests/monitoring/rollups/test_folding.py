"""Entries are folded once, whoever folds, and old rollups are deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.db import DataError, OperationalError, connection

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import claiming, ending
from scheduled_tasks.models import Rollup, RollupEntry, Task, Worker
from scheduled_tasks.models.rollup_entry import RollupEntryQuerySet
from scheduled_tasks.models.sql.transactions import LostRaceError
from scheduled_tasks.monitoring.rollups import expiry
from scheduled_tasks.monitoring.rollups import folding as rollup_folding
from scheduled_tasks.monitoring.rollups import recording as rollups
from scheduled_tasks.monitoring.rollups.expiry import delete_old, delete_totals_without_task
from scheduled_tasks.monitoring.rollups.figures import figures
from scheduled_tasks.monitoring.rollups.folding import fold_all, fold_some
from scheduled_tasks.monitoring.rollups.recording import Fact, TaskFact, hour_of
from tests.concurrency.beside import elsewhere
from tests.monitoring.rollups.entries import append
from tests.support.attempts import NOTHING, make_worker, outcome

Make = Callable[..., Task]
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def successes(resolution: str) -> list[int]:
    stored = Rollup.objects.filter(resolution=resolution, task_id__gt=0)
    stored = stored.order_by("start", "task_id")
    return list(stored.values_list("success", flat=True))


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing")
def test_each_execution_counts_in_three_rollups(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING)
    for later in (now, now + HOUR, now + DAY):
        append(later, task_id=task.pk, times=2)
    assert fold_all() == 6
    assert successes("hour") == [2, 2, 2]
    assert successes("day") == [4, 2]
    assert successes("all") == [6]
    total = Rollup.objects.get(resolution="all", task_id=task.pk)
    assert (total.durations, total.duration_sum_ms) == ({"1000": 6}, 6_000)
    assert (total.started, total.on_time, total.lateness_sum_ms) == (6, 6, 60)


@pytest.mark.django_db
def test_folding_again_changes_nothing(now: datetime) -> None:
    append(now, times=3)
    fold_all()
    before = list(Rollup.objects.order_by("pk").values())
    assert fold_all() == 0
    assert list(Rollup.objects.order_by("pk").values()) == before
    assert not RollupEntry.objects.exists()


@pytest.mark.django_db
def test_what_comes_late_is_added(now: datetime) -> None:
    append(now)
    fold_all()
    append(now)
    fold_all()
    assert successes("hour") == [2]
    assert successes("day") == [2]


@pytest.mark.django_db
def test_many_tasks_take_several_transactions(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup_folding, "TASKS_PER_TRANSACTION", 2)
    for number in range(5):
        append(now, task_id=number + 1)
    assert [fold_some() for _ in range(4)] == [2, 2, 1, 0]
    assert successes("hour") == [1] * 5


@pytest.mark.django_db
def test_figures_are_the_same_before_and_after(now: datetime) -> None:
    append(now, times=2)
    fold_all()
    append(now, times=3)
    before = {
        each: figures(since=now, until=now + DAY, resolution=each) for each in ("hour", "day")
    }
    fold_all()
    after = {each: figures(since=now, until=now + DAY, resolution=each) for each in ("hour", "day")}
    assert before == after


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing")
def test_old_rollups_go(now: datetime, make_task: Make) -> None:
    task = make_task("a", NOTHING)
    for days in (0, 89, 91, 3 * 365 - 1, 3 * 365 + 1):
        append(now - days * DAY, task_id=task.pk)
    fold_all()
    delete_old(now)
    assert successes("hour") == [1, 1]
    assert successes("day") == [1, 1, 1, 1]
    assert successes("all") == [5]


@pytest.mark.django_db
@pytest.mark.usefixtures("nothing")
def test_totals_of_deleted_tasks_go(now: datetime, make_task: Make) -> None:
    task = make_task("a", NOTHING)
    append(now, task_id=task.pk)
    append(now, task_id=task.pk + 1)
    fold_all()
    delete_totals_without_task()
    assert successes("all") == [1]
    assert successes("day") == [1, 1]
    assert Rollup.objects.get(task_id=rollup_folding.EVERYTHING).success == 2


@pytest.mark.django_db
def test_old_rollups_go_batch_by_batch(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "BATCH_SIZE", 2)
    for hours in range(5):
        append(now - 100 * DAY - hours * HOUR)
    append(now)
    fold_all()
    delete_old(now, is_over=iter([False, True, True]).__next__)
    assert successes("hour") == [1, 1, 1, 1]
    delete_old(now)
    assert successes("hour") == [1]


WRONG = {
    "no object": [1, 2],
    "no task": {"one": {"name": "a", "facts": [[1, "success"]]}},
    "no name": {"1": {"facts": [[1, "success"]]}},
    "long name": {"1": {"name": "a" * 101, "facts": [[1, "success"]]}},
    "no facts": {"1": {"name": "a"}},
    "no fact": {"1": {"name": "a", "facts": [7]}},
    "too short": {"1": {"name": "a", "facts": [[1]]}},
    "no hour": {"1": {"name": "a", "facts": [["x", "success"]]}},
    "no status": {"1": {"name": "a", "facts": [[1, None]]}},
    "far future": {"1": {"name": "a", "facts": [[10**8, "success"]]}},
    "negative": {"1": {"name": "a", "facts": [[1, "success", -1]]}},
    "large": {"1": {"name": "a", "facts": [[1, "success", 2**63]]}},
    "fraction": {"1": {"name": "a", "facts": [[1, "success", 1, 0, 1.5]]}},
}


@pytest.mark.django_db
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_fact_of_another_shape_is_left_out(
    wrong: object, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    entry = RollupEntry.objects.create(facts=wrong)
    append(now, times=2)
    assert [row.count for row in figures(since=now, until=now + DAY)] == [2]
    assert fold_all() == 3
    assert successes("all") == [2]
    [said] = [record.getMessage() for record in caplog.records]
    assert f"rollup entry {entry.pk}, " in said
    assert "cannot be counted" in said


@pytest.mark.django_db
def test_the_rest_of_its_entry_counts(now: datetime) -> None:
    good, newer = [hour_of(now), "success"], [hour_of(now), "success", 1, 0, 5, 5, 0, 0, "new"]
    unknown = [hour_of(now), "retries"]
    RollupEntry.objects.create(facts={"1": {"name": "a", "facts": [good, 7, newer, unknown]}})
    fold_all()
    assert successes("all") == [2]


@pytest.mark.django_db
def test_an_entry_that_cannot_be_stored_goes(
    now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with it: the others of its batch are folded, one by one."""
    append(now)
    append(now, task_id=13)
    append(now)
    write = rollup_folding.write

    def refuse_thirteen(sums: rollup_folding.Rollups, *, using: str) -> None:
        if any(key.task_id == 13 for key in sums):
            raise DataError("out of range")
        write(sums, using=using)

    monkeypatch.setattr(rollup_folding, "write", refuse_thirteen)
    refused = RollupEntry.objects.order_by("pk")[1].pk
    assert fold_all() == 3
    assert successes("all") == [2]
    assert not RollupEntry.objects.exists()
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"rollup entry {refused} cannot be counted: {{")
    assert said.endswith(": out of range")


@pytest.mark.django_db
def test_another_worker_may_have_dropped_it(
    now: datetime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(entries: RollupEntryQuerySet, *, using: str) -> int:
        entries.delete()
        raise DataError("out of range")

    append(now)
    monkeypatch.setattr(rollup_folding, "fold", refuse)
    assert rollup_folding.fold_or_drop(RollupEntry.objects.get().pk, using="default") == 0
    assert caplog.records == []


@pytest.mark.django_db(transaction=True)
def test_an_entry_that_is_gone_is_not_folded(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without row locks, two workers read the same entries; the second one begins again."""
    append(now)
    tries = []

    def read_then_lose(entries: object) -> object:
        tries.append(entries)
        if len(tries) == 1:
            raise LostRaceError("folded meanwhile")
        return summed(entries)  # type: ignore[arg-type]

    summed = rollup_folding.summed
    monkeypatch.setattr(rollup_folding, "summed", read_then_lose)
    assert fold_some() == 1
    assert successes("day") == [1]


@pytest.mark.django_db(transaction=True)
def test_a_rollup_that_has_changed_is_read_again(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(now)
    fold_some()
    append(now)
    read, reads = rollup_folding.read, []

    def read_what_is_old(keys: object, *, using: str) -> object:
        found = read(keys, using=using)  # type: ignore[arg-type]
        reads.append(found)
        if len(reads) == 1:
            for rollup in found.values():
                rollup.revision -= 1
        return found

    monkeypatch.setattr(rollup_folding, "read", read_what_is_old)
    assert fold_some() == 1
    assert (len(reads), successes("day")) == (2, [2])


@pytest.mark.django_db
def test_a_lost_race_is_given_to_the_caller(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    append(now)
    fold_some()
    append(now)
    monkeypatch.setattr(rollup_folding, "read", lambda keys, *, using: {})
    with pytest.raises(OperationalError):
        rollup_folding.fold_some()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("nothing")
def test_two_workers_at_once_lose_nothing(make_task: Make, now: datetime) -> None:
    """Both end executions of the same tasks, and fold, at the same time."""
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has two writers at once")
    tasks = [make_task(f"task-{n}", NOTHING, overlap_policy="allow") for n in range(3)]
    workers = [make_worker(f"worker {n}", now) for n in range(2)]
    for task in tasks:
        for _ in range(25):
            run_task_now(task.name, now=now)
    together = Barrier(2, timeout=60)
    with elsewhere() as other:
        ended = other.submit(end_by_and_by, workers[0], now, together)
        end_by_and_by(workers[1], now, together)
        ended.result()
    fold_all()
    assert successes("all") == [25, 25, 25]
    assert not RollupEntry.objects.exists()


def end_by_and_by(worker: Worker, now: datetime, together: Barrier) -> None:
    """Claim, end and fold until nothing is left."""
    together.wait()
    while rows := claiming.claim(worker, now, limit=5, handlers=[NOTHING]).rows:
        ending.end([outcome(row, now) for row in rows], worker, now)
        fold_some()


def test_a_day_begins_in_utc() -> None:
    there = datetime.fromisoformat("2026-03-01T23:30:00-05:00")
    assert rollup_folding.day_of(there) == datetime(2026, 3, 2, tzinfo=UTC)


@pytest.mark.django_db
def test_a_sum_beyond_its_column_is_cut(now: datetime) -> None:
    largest = 2**63 - 1
    for _ in range(3):
        fact = Fact(hour_of(now), "success", processed=largest)
        rollups.record([TaskFact(1, "a", fact)], using="default")
        fold_all()
    assert {row.processed for row in Rollup.objects.all()} == {largest}
