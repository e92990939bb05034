"""Rows that somebody holds for long, and transactions that go on for too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction

from scheduled_tasks.lifecycle import claiming, ending, firing, reaping
from scheduled_tasks.models import Execution, Task, TaskChange, TaskState, Worker
from scheduled_tasks.models.sql.transactions import MAX_TRIES, in_transaction
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.runtime.messages import Envelope, LogLine
from scheduled_tasks.runtime.runs import Ending
from scheduled_tasks.worker.result_writer import ResultWriter
from scheduled_tasks.worker.scheduler import Scheduler
from tests.concurrency.beside import elsewhere
from tests.support.attempts import NOTHING, claim, make_worker, outcome
from tests.support.processes import LONG

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]

HOUR = timedelta(hours=1)
NAMES = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
Make = Callable[..., Task]


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("Other servers have no limits of one transaction.")


@pytest.fixture
def short_lease(settings: Any) -> None:
    """Let locks be waited for 0.5 s, and statements and pauses within transactions last 2 s."""
    settings.SCHEDULED_TASKS = {"LEASE": 6, "HEARTBEAT_INTERVAL": 0.3}


def limits() -> list[str]:
    with connection.cursor() as cursor:
        return [cursor.execute(f"SHOW {name}").fetchone()[0] for name in NAMES]


def test_engine_transactions_have_limits_and_leave_none_behind() -> None:
    before = limits()
    assert in_transaction(limits, using="default") == ["5s", "20s", "20s"]
    assert limits() == before


@pytest.mark.usefixtures("short_lease")
def test_limits_are_parts_of_the_lease() -> None:
    assert in_transaction(limits, using="default") == ["500ms", "2s", "2s"]


def test_a_short_lease_leaves_limits_long_enough(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"LEASE": 1.2, "HEARTBEAT_INTERVAL": 0.3}
    assert in_transaction(limits, using="default") == ["500ms", "2s", "2s"]


def test_transactions_of_callers_keep_their_limits() -> None:
    with transaction.atomic():
        before = limits()
        assert in_transaction(limits, using="default") == before
        assert limits() == before


@pytest.mark.usefixtures("short_lease")
def test_a_slow_statement_is_ended_and_not_retried() -> None:
    tries = []

    def operation() -> None:
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    with pytest.raises(OperationalError, match="statement timeout"):
        in_transaction(operation, using="default")
    assert len(tries) == 1


@pytest.mark.usefixtures("short_lease")
def test_waiting_for_a_lock_fails_after_some_tries(make_task: Make) -> None:
    task = make_task("held", NOTHING)
    tries = []

    def operation() -> None:
        tries.append(1)
        TaskState.objects.lock_tasks([task.pk])

    with elsewhere() as other, transaction.atomic():
        TaskState.objects.lock_tasks([task.pk])
        waiting = other.submit(in_transaction, operation, using="default")
        with pytest.raises(OperationalError, match="lock timeout"):
            waiting.result(timeout=LONG)
    assert len(tries) == MAX_TRIES


@pytest.mark.usefixtures("short_lease")
def test_a_frozen_transaction_loses_its_locks_and_restarts(make_task: Make, now: datetime) -> None:
    task = make_task("held", NOTHING)
    tries: list[int] = []
    frozen, thawed = threading.Event(), threading.Event()

    def operation() -> int:
        tries.append(1)
        TaskState.objects.lock_tasks([task.pk])
        if len(tries) == 1:
            frozen.set()
            assert thawed.wait(LONG)
        return TaskState.objects.filter(pk=task.pk).update(last_slot=now)

    with elsewhere() as other:
        written = other.submit(in_transaction, operation, using="default")
        assert frozen.wait(LONG)
        task.priority = 5
        task.save(now=now)
        thawed.set()
        assert written.result(timeout=LONG) == 1
    assert len(tries) == 2
    assert TaskState.objects.get().last_slot == now


@pytest.mark.usefixtures("short_lease")
def test_an_unwritable_end_blocks_no_other(make_task: Make, worker: Worker, now: datetime) -> None:
    held, free = (started(make_task(name, NOTHING), worker) for name in ("held", "free"))
    endings = [outcome(held, now), outcome(free, now)]

    with elsewhere() as other:
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.task_id])
            taken = other.submit(ending.end, endings, worker, now)
            assert taken.result(timeout=LONG) == [free]
        taken = other.submit(ending.end, endings, worker, now)
        assert taken.result(timeout=LONG) == [held]


@pytest.mark.usefixtures("short_lease")
def test_a_locked_execution_blocks_no_other_claim(make_task: Make, worker: Worker) -> None:
    held, free = (run_task_now(make_task(name, NOTHING).name) for name in ("held", "free"))

    def claim_two() -> list[Execution]:
        return claiming.claim(worker, free.run_after, limit=2, handlers=[NOTHING]).rows

    with elsewhere() as other:
        with transaction.atomic():
            Execution.objects.filter(pk=held.pk).locked().get()
            assert other.submit(claim_two).result(timeout=LONG) == [free]
        assert other.submit(claim_two).result(timeout=LONG) == [held]


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("held", ["task", "covering row", "execution to be replaced"])
def test_a_locked_row_keeps_no_other_from_firing(make_task: Make, now: datetime, held: str) -> None:
    """Whoever inserts an execution needs its task, which a handler may lock as long as it runs."""
    policy = "cancel_other" if held == "execution to be replaced" else "allow"
    pause = {"paused_until": now + 3 * HOUR} if held == "covering row" else {}
    first = make_task("held", NOTHING, "every hour", overlap_policy=policy, **pause)
    second = make_task("free", NOTHING, "every hour")
    assert firing.fire(now + HOUR, limit=10) == 2
    of_first = Execution.objects.filter(task=first)
    rows: Any = Task.objects.filter(pk=first.pk) if held == "task" else of_first
    with elsewhere() as other:
        with transaction.atomic():
            rows.select_for_update().get()
            fired = other.submit(firing.fire, now + 2 * HOUR, limit=10)
            assert fired.result(timeout=LONG) == (2 if held == "covering row" else 1)
            assert Execution.objects.filter(task=second).count() == 2
        other.submit(firing.fire, now + 2 * HOUR, limit=10).result(timeout=LONG)
    expected = {"task": 2 * ["queued"], "covering row": 2 * ["skipped"]}.get(
        held, ["cancelled", "queued"]
    )
    assert list(of_first.order_by("slot").values_list("status", flat=True)) == expected


@pytest.mark.usefixtures("short_lease")
def test_an_end_is_written_once_its_lock_clears(
    make_task: Make, scheduler: Callable[..., Scheduler], caplog: pytest.LogCaptureFixture
) -> None:
    held, free = (run_task_now(make_task(name, NOTHING).name) for name in ("held", "free"))
    now = free.run_after
    with elsewhere() as other:
        loop = scheduler()
        other.submit(loop.engine.start, now).result(timeout=LONG)
        assert other.submit(loop.engine.claim, now).result(timeout=LONG) == 2
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.task_id])
            assert other.submit(loop.engine.write_results).result(timeout=LONG) == 1
            assert other.submit(loop.engine.write_results).result(timeout=LONG) == 0
            assert loop.unfinished
            again = other.submit(run_task_now, "free").result(timeout=LONG)
            assert other.submit(loop.tick, again.run_after).result(timeout=LONG).claimed == 1
        assert other.submit(loop.engine.write_results).result(timeout=LONG) == 1
        assert not loop.unfinished
    assert set(Execution.objects.values_list("status", "attempt")) == {("success", 1)}
    assert "taken from this worker" not in caplog.text


@pytest.mark.usefixtures("short_lease")
def test_a_stopping_scheduler_waits_for_an_unwritten_end(
    make_task: Make, scheduler: Callable[..., Scheduler]
) -> None:
    held = run_task_now(make_task("held", NOTHING).name)
    with elsewhere() as other:
        loop = scheduler()
        other.submit(loop.engine.start, held.run_after).result(timeout=LONG)
        assert other.submit(loop.engine.claim, held.run_after).result(timeout=LONG) == 1
        until = time.monotonic() + LONG
        with transaction.atomic():
            TaskState.objects.lock_tasks([held.task_id])
            assert not other.submit(loop.try_to_stop, until).result(timeout=LONG)
        assert other.submit(loop.try_to_stop, until).result(timeout=LONG)
    assert Execution.objects.get().status == "success"
    assert Worker.objects.get().state == Worker.State.STOPPED


@pytest.mark.usefixtures("short_lease")
def test_messages_of_a_locked_run_wait_alone(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    held, free = (started(make_task(name, NOTHING), worker) for name in ("held", "free"))
    source = Spoken()
    result_writer = ResultWriter(source, worker, Clock())
    with elsewhere() as other:
        with transaction.atomic():
            Execution.objects.filter(pk=held.pk).locked().get()
            source.say(held, "one")
            source.say(free, "two")
            assert other.submit(result_writer.flush).result(timeout=LONG) == 0
            assert (logged(held), logged(free), source.answers) == ([], ["two"], [True])
            source.say(held, "three")
            source.endings = [outcome(held, now), outcome(free, now)]
            assert other.submit(result_writer.flush).result(timeout=LONG) == 1
            assert logged(held) == []
            assert result_writer.unwritten
        assert other.submit(result_writer.flush).result(timeout=LONG) == 1
    assert (logged(held), source.answers) == (["one", "three"], [True] * 3)
    assert set(Execution.objects.values_list("status", flat=True)) == {"success"}
    assert not result_writer.unwritten


class Spoken:
    """Hands over what a test lets executions say."""

    def __init__(self) -> None:
        self.said: list[Envelope] = []
        self.endings: list[Ending] = []
        self.answers: list[bool] = []
        self.numbers = count(1)

    def say(self, execution: Execution, text: str) -> None:
        """Let a run log a line."""
        line = LogLine(logged_at=execution.run_after, level=20, logger="shop", message=text)
        self.said.append(
            Envelope(
                execution_id=execution.pk,
                attempt=execution.attempt,
                number=next(self.numbers),
                message=line,
                answer=self.answers.append,
            )
        )

    def messages(self) -> list[Envelope]:
        """Return what was said since the last call."""
        said, self.said = self.said, []
        return said

    def finished(self) -> list[Ending]:
        """Return what has ended since the last call."""
        endings, self.endings = self.endings, []
        return endings


def logged(execution: Execution) -> list[str]:
    return [line.message for line in execution.log_lines.order_by("pk")]


def started(task: Task, worker: Worker) -> Execution:
    execution = run_task_now(task.name)
    return claim(worker, execution.run_after)


def test_lost_executions_are_reaped_unless_locked(make_task: Make, now: datetime) -> None:
    lost = make_worker("lost", now)
    held, free = (started(make_task(name, NOTHING), lost) for name in ("held", "free"))
    Worker.objects.filter(pk=lost.pk).update(state=Worker.State.LOST)
    with elsewhere() as other:
        with transaction.atomic():
            Execution.objects.filter(pk=held.pk).locked().get()
            assert other.submit(reaping.reap, now).result(timeout=LONG) == [free]
        assert [row.pk for row in Execution.objects.running()] == [held.pk]
        assert other.submit(reaping.reap, now).result(timeout=LONG) == [held]
    free.refresh_from_db()
    assert (free.status, free.probation_seconds) == ("queued", 30)


@pytest.mark.usefixtures("short_lease")
def test_orphaned_tasks_are_parked_unless_locked(
    make_task: Make, scheduler: Callable[..., Scheduler], now: datetime
) -> None:
    held, free = (make_task(name, NOTHING, "every 5 minutes") for name in ("held", "free"))
    Task.objects.update(handler="jobs.gone")
    TaskChange.objects.all().delete()
    house = scheduler().engine.maintenance
    with elsewhere() as other, transaction.atomic():
        TaskState.objects.lock_tasks([held.pk])
        begun = time.monotonic()
        other.submit(house.park_orphans, now).result(timeout=LONG)
        assert time.monotonic() - begun < MAX_TRIES * 0.5, "it has waited"
        parked = TaskState.objects.exclude(parked_reason="")
        assert [state.pk for state in parked] == [free.pk]
