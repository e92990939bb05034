"""Row locks of the engine, with two real connections stopped where it matters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from django.db import OperationalError, connection, transaction

from scheduled_tasks.lifecycle import claiming, firing
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.models.sql.transactions import in_transaction
from tests.concurrency.beside import elsewhere, somebody_waits_for_a_lock
from tests.support.attempts import NOTHING
from tests.support.processes import LONG, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
FIVE = "every 5 minutes"
Make = Callable[..., Task]


@pytest.fixture(autouse=True)
def row_locks() -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("This database locks whole files, not rows.")


def test_due_tasks_held_by_another_worker_are_skipped(make_task: Make, now: datetime) -> None:
    held, free = make_task("held", NOTHING, FIVE), make_task("free", NOTHING, FIVE)
    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.pk])
            fired = other.submit(lambda: firing.fire(now + 5 * MINUTE, limit=10))
            assert fired.result(timeout=LONG) == 1
        assert Execution.objects.get().task == free
        assert firing.fire(now + 5 * MINUTE, limit=10) == 1


def test_executions_of_a_locked_task_are_not_claimed(make_task: Make, now: datetime) -> None:
    held, free = make_task("held", NOTHING, FIVE), make_task("free", NOTHING, FIVE)
    firing.fire(now + 5 * MINUTE, limit=10)
    worker = Worker.objects.create(label="w", host="h", pid=1)

    def claim() -> list[str]:
        claimed = claiming.claim(worker, now + 5 * MINUTE, limit=10, handlers=[NOTHING]).rows
        return [execution.task_name for execution in claimed]

    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.pk])
            assert other.submit(claim).result(timeout=LONG) == [free.name]
        assert claim() == [held.name]


def test_an_edit_waits_for_a_firing_in_progress(make_task: Make, now: datetime) -> None:
    task = make_task("edited", NOTHING, FIVE)
    task.schedule = "every 7 minutes"
    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([task.pk])
            edit = other.submit(task.save, now=now + 6 * MINUTE)
            wait_until(somebody_waits_for_a_lock, within=LONG)
            firing.fire(now + 5 * MINUTE, limit=10)
        edit.result(timeout=LONG)
    assert Execution.objects.get().slot == now + 5 * MINUTE
    state = TaskState.objects.get()
    assert state.next_run_at == now + 13 * MINUTE


def test_deleting_and_ending_a_task_do_not_deadlock(make_task: Make, now: datetime) -> None:
    task = make_task("deleted", NOTHING, FIVE)
    firing.fire(now + 5 * MINUTE, limit=10)
    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([task.pk])
            deletion = other.submit(Task.objects.get().delete, now=now)
            wait_until(somebody_waits_for_a_lock, within=LONG)
            list(Execution.objects.all().locked())
        deletion.result(timeout=LONG)
    assert Execution.objects.get().task is None


def test_a_deadlock_is_tried_again(make_task: Make) -> None:
    first, second = make_task("first", NOTHING, FIVE), make_task("second", NOTHING, FIVE)
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def lock(name: str, one: Task, two: Task) -> str:
        def operation() -> str:
            tries.append(name)
            TaskState.objects.lock_tasks([one.pk])
            if tries.count(name) == 1:
                both_hold_one.wait(timeout=LONG)
            TaskState.objects.lock_tasks([two.pk])
            return name

        return in_transaction(operation, using="default")

    with elsewhere() as other:
        far = other.submit(lock, "far", second, first)
        assert lock("near", first, second) == "near"
        assert far.result(timeout=LONG) == "far"
    assert len(tries) == 3, "one of the two was the victim, and began anew"


def test_an_error_that_retrying_cannot_mend_is_raised(make_task: Make) -> None:
    tries = []

    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM a_table_that_is_not_there")

    with pytest.raises(Exception, match="a_table_that_is_not_there"):
        in_transaction(operation, using="default")
    assert len(tries) == 1


def test_nothing_is_retried_inside_a_callers_transaction(make_task: Make) -> None:
    tries = []

    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")

    with pytest.raises(OperationalError), transaction.atomic():
        in_transaction(operation, using="default")
    assert len(tries) == 1
