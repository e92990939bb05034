"""Running a task of the database at once, within a test's transaction and without one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import TestCase, TransactionTestCase

from scheduled_tasks import TaskContext, register_task, scheduled_task
from scheduled_tasks.exceptions import AlreadyRunning, InvalidPayload, UnknownTask
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.testing import TaskClock, run_task

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task("0 2 * * *", name="cleanup", payload={"days": 7}, executor="process")
    def cleanup(context: TaskContext, *, days: int = 30) -> dict[str, Any]:
        context.logger.info("cleaning")
        return {"days": days, "test_mode": context.test_mode}

    @scheduled_task(name="clash", retry=2)
    def clash() -> None:
        twice = Worker.objects.create(label="a", host="h", pid=1)
        Worker.objects.create(pk=twice.pk, label="b", host="h", pid=1)

    @scheduled_task(name="broken", retry=2)
    def broken() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense FROM nowhere")


@pytest.mark.django_db
def test_a_task_only_in_code_runs_on_record() -> None:
    execution = run_task("cleanup", now="2026-03-01 12:00+00:00")
    assert execution == Execution.objects.get()
    assert (execution.status, execution.trigger) == ("success", "manual")
    assert execution.triggered_by == "test"
    assert execution.result == {"days": 7, "test_mode": False}
    assert execution.scheduled_for == execution.created_at == NOON
    assert NOON <= execution.started_at < NOON + timedelta(minutes=1)
    assert [line.message for line in execution.log_lines.all()] == ["cleaning"]
    state = TaskState.objects.get(task__name="cleanup")
    assert (state.execution_count, state.last_success_at) == (1, execution.started_at)
    assert not Worker.objects.exists()


@pytest.mark.django_db
def test_a_payload_and_test_mode_can_be_given() -> None:
    execution = run_task("cleanup", {"days": 1}, test_mode=True)
    assert execution.result == {"days": 1, "test_mode": True}
    assert execution.test_mode
    assert TaskState.objects.get(task__name="cleanup").execution_count == 0


@pytest.mark.django_db
def test_without_a_moment_it_is_now() -> None:
    execution = run_task("cleanup")
    assert abs(datetime.now(UTC) - execution.scheduled_for) < timedelta(minutes=5)


@pytest.mark.django_db
def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(UnknownTask, match="No task is called 'cleanups'"):
        run_task("cleanups")
    with pytest.raises(InvalidPayload, match="days"):
        run_task("cleanup", {"days": "many"})
    running = Execution.for_task(Task.objects.get(name="cleanup"), trigger="manual", now=NOON)
    running.status, running.exclusive = "running", running.task_id
    running.save()
    with pytest.raises(AlreadyRunning):
        run_task("cleanup")


def a_handler_may_break_its_transaction() -> None:
    for name in ("clash", "broken"):
        register_task(name, name)
        execution = run_task(name)
        assert (execution.status, execution.error_category) == ("failed", "database")
        assert execution.attempt == 1
    assert not Worker.objects.filter(label="b").exists()
    assert run_task("cleanup").status == "success"


def the_clock_plays() -> None:
    clock = TaskClock("2026-03-01 00:00+00:00")
    assert [row.status for row in clock.move_by(days=2)] == ["success", "success"]
    assert Execution.objects.count() == 2


class InATransactionTests(TestCase):
    """Within the transaction of a TestCase."""

    def test_a_handler_may_break_it(self) -> None:
        a_handler_may_break_its_transaction()

    def test_the_clock_plays(self) -> None:
        the_clock_plays()


class WithoutOneTests(TransactionTestCase):
    """Where each statement is committed."""

    def test_a_handler_may_break_it(self) -> None:
        a_handler_may_break_its_transaction()

    def test_the_clock_plays(self) -> None:
        the_clock_plays()


@pytest.mark.django_db
def test_a_broken_transaction_undoes_the_handlers_work() -> None:
    register_task("clash", "clash")
    run_task("clash")
    assert not Worker.objects.filter(label="a").exists()
