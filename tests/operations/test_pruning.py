"""What is pruned, and what is kept however old it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.signals import post_delete
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from scheduled_tasks import unregister_task
from scheduled_tasks.exceptions import InvalidTask
from scheduled_tasks.models import Attempt, Execution, ExecutionLog, Task, TaskState
from scheduled_tasks.operations import expired_rows, pruning
from scheduled_tasks.operations.pruning import prune_executions
from tests.support.attempts import NOTHING
from tests.support.old_rows import add_attempts, add_lines, old_execution, old_failure

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def nothing_is_kept_for_its_number(settings: Any) -> None:
    configure(settings)


def configure(settings: Any, **options: Any) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "KEEP_LAST": 0, **options}


def left() -> list[int]:
    return list(Execution.objects.order_by("pk").values_list("pk", flat=True))


def test_executions_go_after_their_days(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    old = old_execution(task, now, 90.1)
    young = old_execution(task, now, 89.9)
    pruned = prune_executions(now=now)
    assert (pruned.executions, pruned.executions_by_task) == (1, {"daily": 1})
    assert left() == [young.pk]
    assert prune_executions(now=now + DAY).executions == 1
    assert not Execution.objects.filter(pk=old.pk).exists()


def test_a_wrong_host_clock_deletes_nothing(
    make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timezone.now()
    task = make_task("daily", NOTHING)
    old_execution(task, real, 91)
    young = old_execution(task, real, 89)
    monkeypatch.setattr(timezone, "now", lambda: real + 200 * DAY)
    assert prune_executions().executions == 1
    assert left() == [young.pk]


@pytest.mark.parametrize("given", [datetime(2026, 3, 1), "2026-03-01"])
def test_a_now_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(InvalidTask, match="now: must be a datetime with a time zone, not"):
        prune_executions(now=given)


@pytest.mark.parametrize("status", ["success", "partial", "skipped", "cancelled", "missed"])
def test_every_end_but_failed_counts_alike(make_task: Make, now: datetime, status: str) -> None:
    old_execution(make_task("daily", NOTHING), now, 91, status)
    assert prune_executions(now=now).executions == 1


def test_failures_are_kept_for_longer(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    kept = old_failure(task, now, 364)
    old_failure(task, now, 366)
    prune_executions(now=now)
    assert left() == [kept.pk]


def test_a_failure_stays_after_it_was_resolved(make_task: Make, now: datetime) -> None:
    """Otherwise the note, and the link from its repetition, would be gone the same night."""
    task = make_task("daily", NOTHING)
    kept = old_failure(task, now, 500, resolved_at=now - 364 * DAY)
    old_failure(task, now, 501, resolved_at=now - 366 * DAY)
    prune_executions(now=now)
    assert left() == [kept.pk]


def test_unresolved_dead_letters_always_stay(make_task: Make, now: datetime) -> None:
    dead = old_execution(make_task("daily", NOTHING), now, 5_000, "failed")
    tried = old_execution(make_task("other", NOTHING), now, 5_000, "failed", test_mode=True)
    gone = old_execution(make_task("gone", NOTHING), now, 5_000, "failed")
    unregister_task("gone")
    prune_executions(now=now)
    assert left() == [dead.pk, gone.pk]
    assert tried.pk not in left()


def test_failures_never_go_before_successes(make_task: Make, now: datetime, settings: Any) -> None:
    configure(settings, RETENTION_DAYS=100, FAILURE_RETENTION_DAYS=1)
    task = make_task("daily", NOTHING)
    old_failure(task, now, 99)
    old_failure(task, now, 101)
    assert prune_executions(now=now).executions == 1


def test_the_days_of_a_task_include_failures(make_task: Make, now: datetime) -> None:
    short = make_task("short", NOTHING, retention_days=7)
    long = make_task("long", NOTHING, retention_days=500)
    for days in (6, 8, 100, 499, 501):
        for task in (short, long):
            old_execution(task, now, days)
            old_failure(task, now, days + 0.1)
    assert prune_executions(now=now).executions_by_task == {"short": 8, "long": 2}


@pytest.mark.parametrize("status", ["queued", "running"])
def test_nothing_unfinished_goes(make_task: Make, now: datetime, status: str) -> None:
    row = old_execution(make_task("daily", NOTHING), now, 1_000, status, finished_at=None)
    add_lines(row, 3)
    prune_executions(now=now)
    assert (left(), ExecutionLog.objects.count()) == ([row.pk], 3)


def test_age_counts_from_the_end(make_task: Make, now: datetime) -> None:
    row = old_execution(make_task("daily", NOTHING), now, 200, finished_at=now - 89 * DAY)
    prune_executions(now=now)
    assert left() == [row.pk]


def test_the_newest_of_each_task_stay(make_task: Make, now: datetime, settings: Any) -> None:
    configure(settings, KEEP_LAST=2)
    often, rarely = make_task("often", NOTHING), make_task("rarely", NOTHING)
    own = make_task("own", NOTHING, keep_last=3)
    none = make_task("none", NOTHING, keep_last=0)
    for days in range(505, 500, -1):
        for task in (often, own, none):
            old_execution(task, now, days)
    [kept] = [old_execution(rarely, now, 1_000)]
    old_execution(often, now, 500, "queued", finished_at=None)
    pruned = prune_executions(now=now)
    assert pruned.executions_by_task == {"often": 3, "own": 2, "none": 5}
    assert kept.pk in left()
    newest = Execution.objects.filter(task=often).order_by("pk").values_list("slot", flat=True)
    assert list(newest) == [now - days * DAY for days in (502, 501, 500)]


def test_deleted_tasks_follow_the_settings_alone(
    make_task: Make, now: datetime, settings: Any
) -> None:
    configure(settings, KEEP_LAST=10)
    task = make_task("gone", NOTHING, retention_days=5_000, keep_last=100)
    old_execution(task, now, 100)
    kept = old_execution(task, now, 50)
    unregister_task("gone")
    assert prune_executions(now=now).executions_by_task == {"gone": 1}
    assert left() == [kept.pk]


def test_a_row_goes_a_day_after_its_slot(make_task: Make, now: datetime, settings: Any) -> None:
    """A clock that was wrong can end an execution long before its slot."""
    configure(settings, RETENTION_DAYS=1, FAILURE_RETENTION_DAYS=1)
    task = make_task("daily", NOTHING)
    kept = old_execution(task, now, 2, slot=now - DAY / 2)
    covering = old_execution(task, now, 3, "missed", slot_until=now - DAY / 2)
    old_execution(task, now, 4)
    prune_executions(now=now)
    assert left() == [kept.pk, covering.pk]


def test_a_row_that_may_cover_more_slots_stays(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    rows = [
        old_execution(task, now, days, "skipped", slot_until=now - days * DAY)
        for days in (200, 100)
    ]
    TaskState.objects.filter(pk=task.pk).update(covering=rows[1].pk)
    prune_executions(now=now)
    assert left() == [rows[1].pk]


def test_attempts_and_logs_go_with_their_execution(
    make_task: Make, now: datetime, settings: Any
) -> None:
    configure(settings, LOG_RETENTION_DAYS=1_000)
    task = make_task("daily", NOTHING)
    for days in (91, 50):
        row = old_execution(task, now, days)
        add_attempts(row, 2)
        add_lines(row, 5)
    pruned = prune_executions(now=now)
    assert (pruned.executions, pruned.attempts, pruned.log_lines) == (1, 2, 5)
    assert set(Attempt.objects.values_list("execution", flat=True)) == {row.pk}
    assert set(ExecutionLog.objects.values_list("execution", flat=True)) == {row.pk}


def test_log_lines_go_earlier(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    own = make_task("own", NOTHING, log_retention_days=3)
    long = make_task("long", NOTHING, log_retention_days=60)
    for each in (task, own, long):
        row = old_execution(each, now, 31)
        add_lines(row, 2)
        add_lines(row, 3, logged_at=now - 10 * DAY)
    pruned = prune_executions(now=now)
    assert pruned.log_lines_by_task == {"daily": 2, "own": 5}
    assert (pruned.executions, Execution.objects.count()) == (0, 3)


def test_logs_of_the_newest_and_dead_follow_theirs(
    make_task: Make, now: datetime, settings: Any
) -> None:
    configure(settings, KEEP_LAST=1)
    task = make_task("daily", NOTHING)
    dead = old_execution(task, now, 400, "failed")
    newest = old_execution(task, now, 300)
    for row in (dead, newest):
        add_lines(row, 2)
        add_attempts(row, 2)
    prune_executions(now=now)
    assert left() == [dead.pk, newest.pk]
    assert (ExecutionLog.objects.count(), Attempt.objects.count()) == (0, 4)


def test_requeued_executions_outlive_what_they_repeat(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    first = old_failure(task, now, 400)
    second = old_failure(task, now, 399, slot=None, requeue_of=first)
    third = old_execution(task, now, 30, slot=None, requeue_of=second)
    assert prune_executions(now=now).executions == 2
    third.refresh_from_db()
    assert third.requeue_of_id is None


def test_a_dry_run_counts_without_writing(make_task: Make, now: datetime, settings: Any) -> None:
    configure(settings, LOG_RETENTION_DAYS=100, KEEP_LAST=1)
    for name in ("one", "two"):
        task = make_task(name, NOTHING, log_retention_days=95 if name == "two" else None)
        for days in (200, 97, 91, 10):
            row = old_execution(task, now, days)
            add_attempts(row, 1)
            add_lines(row, 3)
    before = left()
    with CaptureQueriesContext(connection) as captured:
        planned = prune_executions(now=now, dry_run=True)
    assert all(query["sql"].startswith("SELECT") for query in captured)
    assert left() == before
    assert planned.executions == 6
    assert planned.log_lines_by_task == {"one": 9, "two": 9}
    assert prune_executions(now=now) == planned


def test_wrong_times_do_not_end_the_walk(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    old_execution(task, now, 200, created_at=now + 1_000 * DAY)
    old_execution(task, now, 199)
    assert prune_executions(now=now).executions == 2


@pytest.mark.parametrize("own_days", [None, 80])
def test_windows_of_the_future_do_not_either(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch, own_days: int | None
) -> None:
    """A clock was ten years ahead for a while."""
    monkeypatch.setattr(expired_rows, "WINDOW_SIZE", 5)
    task = make_task("daily", NOTHING, retention_days=own_days)
    for _ in range(15):
        old_execution(task, now, 150, slot=None, created_at=now + 3_650 * DAY)
    for days in (140, 50):
        add_lines(old_execution(task, now, days, slot=None), 10, logged_at=now + 3_650 * DAY)
        add_lines(old_execution(task, now, days, slot=None), 10)
    assert prune_executions(now=now).executions == 17
    assert (len(left()), ExecutionLog.objects.count()) == (2, 10)


def test_a_walk_has_an_end(make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are made during the walk, after its ``now``, look like those of the future."""
    monkeypatch.setattr(expired_rows, "WINDOW_SIZE", 5)
    task = make_task("daily", NOTHING)
    steps = []

    def make_another(seconds: float) -> None:
        steps.append(old_execution(task, now + DAY, 0, slot=None))
        assert len(steps) < 100

    old_execution(task, now, 150, slot=None, created_at=now + DAY)
    assert prune_executions(now=now, after_step=make_another).executions == 1


def test_many_rows_take_few_queries(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [make_task(f"task-{number}", NOTHING) for number in range(5)]
    for number in range(60):
        add_lines(old_execution(tasks[number % 5], now, 200 - number), 1)
    with CaptureQueriesContext(connection) as few:
        prune_executions(now=now, dry_run=True)
    for number in range(600):
        add_lines(old_execution(tasks[number % 5], now, 100 + number / 100, slot=None), 1)
    with CaptureQueriesContext(connection) as many:
        prune_executions(now=now, dry_run=True)
    assert len(many) == len(few)


def test_young_rows_are_not_read(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expired_rows, "WINDOW_SIZE", 10)
    task = make_task("daily", NOTHING)
    for number in range(100):
        add_lines(old_execution(task, now, 200 if number < 15 else 5, slot=None), 1)
    with CaptureQueriesContext(connection) as captured:
        assert prune_executions(now=now, dry_run=True).executions == 15
    read = [query for query in captured if "created_at" in query["sql"]]
    assert len(read) < 2 * 4


def test_steps_stay_small(make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired_rows, "WINDOW_SIZE", 10)
    monkeypatch.setattr(pruning, "EXECUTIONS_PER_FILE", 7)
    task = make_task("daily", NOTHING)
    for number in range(40):
        row = old_execution(task, now, 200 - number, slot=None)
        add_lines(row, 3)
        add_attempts(row, 1)
    steps: list[float] = []
    pruned = prune_executions(now=now, after_step=steps.append)
    assert (pruned.executions, pruned.attempts, pruned.log_lines) == (40, 40, 120)
    assert len(steps) > 20


def test_it_goes_on_where_it_was_stopped(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    for number in range(250):
        old_execution(task, now, 200 - number / 10)
    pruned = pruning.Pruned()

    def stop(seconds: float) -> None:
        if pruned.executions:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prune_executions(now=now, pruned=pruned, after_step=stop)
    assert 0 < pruned.executions < 250
    assert prune_executions(now=now).executions == 250 - pruned.executions


def test_receivers_hear_of_each_deletion(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    first = old_failure(task, now, 400)
    add_attempts(first, 2)
    again = old_execution(task, now, 30, slot=None, requeue_of=first)
    heard = []

    def hear(instance: Execution, **_: Any) -> None:
        heard.append(instance.pk)

    with connected(post_delete, hear):
        pruned = prune_executions(now=now)
    assert (heard, pruned.executions, pruned.attempts) == ([first.pk], 1, 2)
    again.refresh_from_db()
    assert again.requeue_of_id is None


@contextmanager
def connected(signal: Signal, receiver: Callable[..., None]) -> Iterator[None]:
    signal.connect(receiver, sender=Execution)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=Execution)


def test_a_batch_takes_few_statements(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    for number in range(90):
        old_execution(task, now, 200 - number)
    with CaptureQueriesContext(connection) as captured:
        assert prune_executions(now=now).executions == 90
    deleting = [query["sql"] for query in captured if query["sql"].startswith("DELETE")]
    tables = ("attempt", "execution", "executionlog")
    assert [sum(f'scheduled_tasks_{table}"' in sql for sql in deleting) for table in tables] == [
        1,
        1,
        1,
    ]


def test_very_long_times_are_no_error(make_task: Make, now: datetime, settings: Any) -> None:
    configure(settings, RETENTION_DAYS=10**9, FAILURE_RETENTION_DAYS=10**9)
    old_execution(make_task("daily", NOTHING), now, 10_000)
    assert prune_executions(now=now).executions == 0
