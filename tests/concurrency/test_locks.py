"""Row locks of the engine, with two real connections stopped where it matters."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction

from scheduled_tasks import scheduled_task
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.models.locking import in_transaction
from scheduled_tasks.registry import HandlerRegistry

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
Make = Callable[..., Task]


@pytest.fixture(autouse=True)
def row_locks(registry: HandlerRegistry) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("This database locks whole files, not rows.")

    @scheduled_task(name="jobs.nothing")
    def nothing() -> None: ...


@pytest.fixture
def make_task(transactional_db: None, now: datetime) -> Make:
    def make(name: str, schedule: str = "every 5 minutes") -> Task:
        task = Task(name=name, handler="jobs.nothing", schedule=schedule, anchor=now)
        task.save()
        task.state.restart(now)
        return task

    return make


@contextmanager
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Run things in another thread, on a connection of its own."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool
        finally:
            pool.submit(connections.close_all).result()


def test_due_tasks_that_another_worker_holds_are_left_to_it(make_task: Make, now: datetime) -> None:
    held, free = make_task("held"), make_task("free")
    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.pk])
            fired = other.submit(lambda: Execution.objects.fire(now + 5 * MINUTE, limit=10))
            assert fired.result(timeout=10) == 1
        assert Execution.objects.get().task == free
        assert Execution.objects.fire(now + 5 * MINUTE, limit=10) == 1


def test_executions_of_a_task_that_another_worker_holds_are_left_to_it(
    make_task: Make, now: datetime
) -> None:
    held, free = make_task("held"), make_task("free")
    Execution.objects.fire(now + 5 * MINUTE, limit=10)
    worker = Worker.objects.create(label="w", host="h", pid=1)

    def claim() -> list[str]:
        claimed = Execution.objects.claim(
            worker, now + 5 * MINUTE, limit=10, handlers=["jobs.nothing"]
        )
        return [execution.task_name for execution in claimed]

    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.pk])
            assert other.submit(claim).result(timeout=10) == [free.name]
        assert claim() == [held.name]


def test_an_edit_waits_for_a_firing_and_then_restarts_the_clock(
    make_task: Make, now: datetime
) -> None:
    task = make_task("edited")
    task.schedule = "every 7 minutes"
    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([task.pk])
            edit = other.submit(task.save, now=now + 6 * MINUTE)
            wait_for_a_blocked_connection()
            Execution.objects.fire(now + 5 * MINUTE, limit=10)
        edit.result(timeout=10)
    assert Execution.objects.get().slot == now + 5 * MINUTE
    state = TaskState.objects.get()
    assert state.next_run_at == now + 13 * MINUTE


def test_a_deletion_and_an_end_of_the_same_task_do_not_deadlock(
    make_task: Make, now: datetime
) -> None:
    task = make_task("deleted")
    Execution.objects.fire(now + 5 * MINUTE, limit=10)
    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([task.pk])
            deletion = other.submit(Task.objects.get().delete, now=now)
            wait_for_a_blocked_connection()
            list(Execution.objects.all().locked())
        deletion.result(timeout=10)
    assert Execution.objects.get().task is None


def test_a_deadlock_is_tried_again(make_task: Make) -> None:
    first, second = make_task("first"), make_task("second")
    both_hold_one = threading.Barrier(2)
    tries: list[str] = []

    def lock(name: str, one: Task, two: Task) -> str:
        def operation() -> str:
            tries.append(name)
            TaskState.objects.lock_tasks([one.pk])
            if tries.count(name) == 1:
                both_hold_one.wait(timeout=10)
            TaskState.objects.lock_tasks([two.pk])
            return name

        return in_transaction(operation, using="default")

    with elsewhere() as other:
        far = other.submit(lock, "far", second, first)
        assert lock("near", first, second) == "near"
        assert far.result(timeout=20) == "far"
    assert len(tries) == 3, "one of the two was the victim, and began anew"


def test_an_error_that_trying_again_cannot_mend_is_raised_at_once(make_task: Make) -> None:
    tries = []

    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM a_table_that_is_not_there")

    with pytest.raises(Exception, match="a_table_that_is_not_there"):
        in_transaction(operation, using="default")
    assert len(tries) == 1


def test_inside_a_transaction_of_the_callers_nothing_is_tried_again(make_task: Make) -> None:
    tries = []

    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")

    with pytest.raises(OperationalError), transaction.atomic():
        in_transaction(operation, using="default")
    assert len(tries) == 1


def wait_for_a_blocked_connection() -> None:
    """Wait until PostgreSQL says that somebody waits for a lock."""
    with elsewhere() as observer:
        for _ in range(2_000):
            if observer.submit(blocked_connections).result():
                return
    raise AssertionError("nobody came to wait for the lock")


def blocked_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(cursor.fetchone()[0])
