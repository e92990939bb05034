"""Pruning beside other transactions: it waits for none, and harms none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from scheduled_tasks.lifecycle.requeueing import requeue
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.operations.pruning import Pruned, prune_executions
from scheduled_tasks.worker.scheduler import Scheduler
from tests.concurrency.beside import elsewhere
from tests.support.attempts import NOTHING
from tests.support.old_rows import add_attempts, add_lines, old_execution, old_failure
from tests.support.processes import LONG

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def nothing_is_kept_for_its_number(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "KEEP_LAST": 0}


@pytest.fixture
def with_row_locks(db: None) -> None:
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip("This database does not lock rows.")


def left() -> set[int]:
    return set(Execution.objects.values_list("pk", flat=True))


@pytest.mark.usefixtures("with_row_locks")
def test_rows_that_others_hold_are_left(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    rows = [old_execution(task, now, 200 - number) for number in range(5)]
    with elsewhere() as others, transaction.atomic():
        Execution.objects.select_for_update().get(pk=rows[2].pk)
        assert others.submit(prune_executions, now=now).result(LONG).executions == 4
    assert left() == {rows[2].pk}
    assert prune_executions(now=now).executions == 1


@pytest.mark.usefixtures("with_row_locks")
def test_a_busy_repetition_holds_up_nothing(make_task: Make, now: datetime) -> None:
    """The deletion clears its ``requeue_of``, so it would have to wait for that row."""
    task = make_task("daily", NOTHING)
    first = old_failure(task, now, 400)
    again = old_execution(
        task, now, 1, "running", slot=None, finished_at=None, requeue_of=first, worker="w"
    )
    old_execution(task, now, 300)
    with elsewhere() as others, transaction.atomic():
        Execution.objects.select_for_update().get(pk=again.pk)
        assert others.submit(prune_executions, now=now).result(LONG).executions == 1
    assert left() == {first.pk, again.pk}
    prune_executions(now=now)
    assert left() == {again.pk}


def test_two_at_once_delete_each_row_once(make_task: Make, now: datetime) -> None:
    task = make_task("daily", NOTHING)
    for number in range(300):
        row = old_execution(task, now, 200 - number / 10)
        add_attempts(row, 1)
        add_lines(row, 1, logged_at=now)
    done = [Pruned(), Pruned()]
    with elsewhere() as first, elsewhere() as second:
        running = [
            pool.submit(prune_executions, now=now, pruned=pruned)
            for pool, pruned in zip((first, second), done, strict=True)
        ]
        for each in running:
            each.result(LONG)
    assert sum(pruned.executions for pruned in done) == 300
    assert sum(pruned.attempts for pruned in done) == 300
    assert not left()


def test_work_goes_on_between_the_steps(
    make_task: Make, scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    often = make_task("often", NOTHING, "every 1 minute", overlap_policy="allow")
    for number in range(50):
        old_execution(often, now, 200 - number)
    dead = old_execution(often, now, 400, "failed")
    worker, moment = scheduler(), now
    worker.tick(now)

    def work(seconds: float) -> None:
        nonlocal moment
        moment += MINUTE
        worker.tick(moment)
        if moment == now + MINUTE:
            requeue(dead.pk, moment)

    prune_executions(now=now, after_step=work)
    steps = round((moment - now) / MINUTE)
    young = Execution.objects.filter(created_at__gte=now)
    assert young.filter(status="success", slot__isnull=False).count() == steps
    again = young.get(requeue_of=dead.pk)
    worker.tick(moment + MINUTE)
    again.refresh_from_db()
    assert again.status == "success"


def test_a_row_is_judged_again_when_locked(make_task: Make, now: datetime) -> None:
    """It may have been extended between the walk and the deletion."""
    task = make_task("daily", NOTHING)
    row = old_execution(task, now, 200, "skipped", slot_until=now - timedelta(days=200))

    def extend(seconds: float) -> None:
        Execution.objects.filter(pk=row.pk).update(finished_at=now, slot_until=now)

    assert prune_executions(now=now, after_step=extend).executions == 0
    assert left() == {row.pk}


def test_a_pruned_slot_is_not_fired_again(
    make_task: Make, scheduler: Callable[..., Scheduler], worker: Worker, now: datetime
) -> None:
    task = make_task("often", NOTHING, "every 1 minute")
    running = scheduler()
    for number in range(4):
        running.tick(now + number * MINUTE)
    Execution.objects.update(created_at=now - timedelta(days=91))
    later = now + timedelta(days=91)
    prune_executions(now=later)
    state = TaskState.objects.get(pk=task.pk)
    assert state.last_slot == now + 3 * MINUTE
    running.tick(later)
    slots = Execution.objects.filter(slot__lte=now + 3 * MINUTE)
    assert not slots.exists()
