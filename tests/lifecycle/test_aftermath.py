"""Every final status passes ``aftermath``, and the project receives a signal for it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from scheduled_tasks import cancel_execution, disable_task, run_task_now, unregister_task
from scheduled_tasks.lifecycle import claiming, ending, firing, reaping
from scheduled_tasks.lifecycle.batches import BATCH_SIZE
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.signals import execution_finished, slot_missed
from tests.support.attempts import NOTHING, begin, claim, loss, outcome
from tests.support.status_writes import parts_of_package, writes_status

Make = Callable[..., Task]
Committed = Callable[[], AbstractContextManager[Any]]
HOUR = timedelta(hours=1)

#: The functions that write a status, each with the function that passes it to ``aftermath``. None
#: stands for what makes nothing final.
WRITERS = {
    "lifecycle.transitions.claimed_values": None,
    "lifecycle.queueing.insert": None,
    "lifecycle.transitions.apply_outcome": "lifecycle.transitions.write",
    "lifecycle.transitions.apply_loss": "lifecycle.transitions.write",
    "lifecycle.transitions.queue_retry": "lifecycle.transitions.write",
    "lifecycle.transitions.end_unrun": "lifecycle.transitions.write",
    "lifecycle.stopping.cancel_queued": "lifecycle.stopping.cancel_queued",
    "lifecycle.covering.covering_row": "lifecycle.covering.cover",
}
#: What gives a status to something that is no row: outcomes of runs, and what is told of rows.
NO_ROWS = {
    "admin.tasks.recent.execution_row",
    "executors.endings.cancelled",
    "executors.endings.failed",
    "executors.endings.interrupted",
    "executors.runner.ended_well",
    "executors.runner.perform",
    "monitoring.heartbeats.recording.report_of",
    "monitoring.metrics.collector.view",
    "monitoring.sentry.report_end",
    "monitoring.sentry.report_start",
    "lifecycle.covering.covered_slots",
    "monitoring.rollups.recording.final_fact",
    "operations.records.execution_record",
    "operations.refusals.sentence",
    "outgoing.exchange.exchange",
    "runtime.failures.failure_of",
    "runtime.failures.failure_of_undescribable",
    "runtime.statuses",
    "testing.clock.TaskClock.next_moment",
    "testing.handlers.HandlerRun.of",
}


def test_every_function_that_writes_a_status_is_known() -> None:
    writers = {name for name, part in parts_of_package() if writes_status(part)}
    told = "pass what is new to lifecycle/aftermath.py, then list it here"
    assert writers == set(WRITERS) | NO_ROWS, told


@pytest.mark.parametrize(
    "source",
    [
        'row.status = "failed"',
        'row.status, row.reason = "failed", "Why."',
        'setattr(row, "status", "failed")',
        'Execution(task=task, status="failed").save()',
        'rows.update(status="failed")',
        'rows.update(**{"status": "failed"})',
        'values = {"reason": "Why.", "status": "failed"}; rows.update(**values)',
        'values = dict(status="failed"); rows.update(**values)',
        'values["status"] = "failed"; rows.update(**values)',
        'rows.update_or_create(pk=1, defaults={"status": "failed"})',
        'rows.bulk_update(found, ["status"])',
        'row.save(update_fields=("status", "reason"))',
    ],
)
def test_each_kind_of_write_is_seen(source: str) -> None:
    assert writes_status(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        'rows.filter(status="failed").only("status")',
        'guard = {"id": row.pk, "status": "queued"}',
        'update_each(Execution, [(values, row.guard | {"status": "queued"})])',
        'if row.status == "failed": state.last_status = row.status',
    ],
)
def test_what_reads_a_status_is_no_write(source: str) -> None:
    assert not writes_status(ast.parse(source))


@pytest.mark.parametrize("gate", sorted({gate for gate in WRITERS.values() if gate}))
def test_every_gate_calls_aftermath(gate: str) -> None:
    [part] = [part for name, part in parts_of_package() if name == gate]
    assert any(calls_aftermath(node) for node in ast.walk(part))


def calls_aftermath(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name("aftermath"))):
            return True
    return False


@dataclass
class Received:
    """The signals that were received, by task name."""

    finished: list[tuple[str, str]] = field(default_factory=list)
    missed: list[tuple[str, int]] = field(default_factory=list)


@pytest.fixture
def received() -> Iterator[Received]:
    received = Received()

    def finished(execution: Execution, **_: Any) -> None:
        received.finished.append((execution.task_name, execution.status))

    def missed(execution: Execution, slots: tuple[datetime, ...], **_: Any) -> None:
        received.missed.append((execution.task_name, len(slots)))

    execution_finished.connect(finished)
    slot_missed.connect(missed)
    yield received
    execution_finished.disconnect(finished)
    slot_missed.disconnect(missed)


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Committed:
    def commit() -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = django_capture_on_commit_callbacks(execute=True)
        return context

    return commit


@pytest.fixture
def make(nothing: None, make_task: Make) -> Make:
    return make_task


@pytest.fixture
def one(make: Make) -> Task:
    return make("one", NOTHING, "every 1 hour")


@pytest.mark.parametrize("status", ["success", "partial", "failed", "cancelled", "skipped"])
@pytest.mark.usefixtures("one")
def test_an_end_is_announced(
    worker: Worker, now: datetime, received: Received, committed: Committed, status: str
) -> None:
    run_task_now("one", now=now)
    claimed = claim(worker, now)
    with committed():
        ending.end([outcome(claimed, now, status)], worker, now)
    assert received.finished == [("one", status)]


def test_a_retry_is_no_end(
    make: Make, worker: Worker, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING)
    run_task_now("one", now=now)
    with committed():
        ending.end([loss(claim(worker, now))], worker, now)
    assert Execution.objects.get().status == "queued"
    assert received.finished == []


def test_giving_up_a_lost_run_is_announced(
    make: Make, worker: Worker, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING, on_lost="fail")
    run_task_now("one", now=now)
    begin(worker, now)
    with committed():
        reaping.mark_lost({worker.pk: worker.heartbeat_at}, timezone.now())
        assert len(reaping.reap(now)) == 1
    assert received.finished == [("one", "failed")]


def test_a_lost_worker_is_logged(
    worker: Worker, committed: Committed, caplog: pytest.LogCaptureFixture
) -> None:
    with committed():
        assert reaping.mark_lost({worker.pk: worker.heartbeat_at}, timezone.now()) == [worker]
    assert "worker lost label=first" in caplog.text


def test_a_queued_execution_that_is_cancelled_is_announced(
    make: Make, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING)
    execution = run_task_now("one", now=now)
    with committed():
        cancel_execution(execution.pk)
    assert received.finished == [("one", "cancelled")]


def test_asking_a_run_to_stop_announces_no_end(
    make: Make, worker: Worker, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING)
    execution = run_task_now("one", now=now)
    claim(worker, now)
    with committed():
        cancel_execution(execution.pk)
    assert received.finished == []


@pytest.mark.parametrize(
    "case",
    [
        (lambda task, _: disable_task(task.name), "skipped"),
        (lambda task, now: park(task.state, "Why not.", now, using="default"), "skipped"),
        (lambda task, _: unregister_task(task.name), "cancelled"),
    ],
    ids=["disabled", "parked", "deleted"],
)
def test_a_queued_slot_that_is_withdrawn_is_announced(
    one: Task,
    now: datetime,
    received: Received,
    committed: Committed,
    case: tuple[Callable[[Task, datetime], object], str],
) -> None:
    withdraw, status = case
    firing.fire(now + HOUR, limit=1)
    one.refresh_from_db()
    with committed():
        withdraw(one, now + HOUR)
    assert ("one", status) in received.finished
    assert Execution.objects.queued().count() == 0


def test_a_slot_claimed_too_late_is_missed(
    make: Make, worker: Worker, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING, "every 1 hour", misfire_grace=60)
    firing.fire(now + HOUR, limit=1)
    late = now + HOUR + timedelta(minutes=2)
    with committed():
        assert claiming.claim(worker, late, limit=1, handlers=[NOTHING]).rows == []
    assert received.finished == [("one", "missed")]
    assert received.missed == [("one", 1)]


def test_covered_slots_are_announced_once_per_row(
    make: Make, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING, "every 1 hour", misfire_policy="skip")
    with committed():
        firing.fire(now + 3.5 * HOUR, limit=1)
    with committed():
        firing.fire(now + 5.5 * HOUR, limit=1)
    assert Execution.objects.get().slots == 5
    assert received.finished == [("one", "missed")]
    assert received.missed == [("one", 3), ("one", 2)]


def test_a_replaced_execution_is_announced(
    make: Make, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING, "every 1 hour", overlap_policy="cancel_other")
    firing.fire(now + HOUR, limit=1)
    with committed():
        firing.fire(now + 2 * HOUR, limit=1)
    assert received.finished == [("one", "cancelled")]
    assert received.missed == []


def test_nothing_is_announced_for_a_transaction_that_fails(
    make: Make, now: datetime, received: Received, committed: Committed
) -> None:
    make("one", NOTHING, "every 1 hour", misfire_policy="skip")

    def fail() -> None:
        raise RuntimeError("before the commit")

    with committed(), pytest.raises(RuntimeError):
        firing.fire_and_claim(None, now + 3 * HOUR, limit=1, before_commit=fail)
    assert received == Received()


def test_a_receiver_that_raises_stops_no_other(
    make: Make, now: datetime, registry: Any, committed: Committed
) -> None:
    heard: list[str] = []
    handler = registry.get(NOTHING).function

    def broken(**_: Any) -> None:
        sys.exit(3)

    def listen(execution: Execution, **_: Any) -> None:
        heard.append(execution.task_name)

    make("one", NOTHING)
    execution = run_task_now("one", now=now)
    execution_finished.connect(broken)
    execution_finished.connect(listen, sender=handler)
    try:
        with committed():
            cancel_execution(execution.pk)
    finally:
        execution_finished.disconnect(broken)
        execution_finished.disconnect(listen, sender=handler)
    assert heard == ["one"]


def test_a_slot_with_an_execution_is_not_announced(
    one: Task, now: datetime, received: Received, committed: Committed
) -> None:
    """Its clock was set back, as by a restored row."""
    firing.fire(now + HOUR, limit=1)
    TaskState.objects.update(next_run_at=now + HOUR)
    begin_pause(now)
    with committed():
        firing.fire(now + 1.5 * HOUR, limit=1)
    assert Execution.objects.get().status == "queued"
    assert received == Received()


def test_more_than_a_batch_is_announced(
    one: Task, now: datetime, received: Received, committed: Committed
) -> None:
    for _ in range(BATCH_SIZE + 1):
        run_task_now("one", now=now)
    with committed():
        unregister_task("one")
    assert len(received.finished) == BATCH_SIZE + 1
