"""Dead letters: requeued, resolved and cancelled from Python; whoever comes too late is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from scheduled_tasks import (
    cancel_execution,
    dead_letters,
    requeue_execution,
    resolve_execution,
    run_task_now,
)
from scheduled_tasks.exceptions import (
    InvalidPayload,
    TooLate,
    UnknownExecution,
    UnknownHandler,
)
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle import batches, requeueing, resolving, stopping
from scheduled_tasks.models import Execution, Task, Worker
from tests.support.attempts import NOTHING, claim

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

MINUTE = timedelta(minutes=1)
SOON = "2026-03-01 12:01:00 UTC"


@pytest.fixture(autouse=True)
def a_minute_later(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """Let it be a minute after ``now``."""
    monkeypatch.setattr(timezone, "now", lambda: now + MINUTE)


@pytest.fixture
def task(make_task: Callable[..., Task]) -> Task:
    return make_task("import", NOTHING)


@pytest.fixture
def make_dead(task: Task, now: datetime) -> Callable[..., Execution]:
    """Return a maker of executions that failed for good."""

    def make(**fields: Any) -> Execution:
        row = Execution.for_task(task, trigger="manual", now=now)
        defaults = {"status": "failed", "attempt": 1, "finished_at": now, "error": "It broke."}
        for name, value in (defaults | fields).items():
            setattr(row, name, value)
        row.save()
        return row

    return make


Make = Callable[..., Execution]


def fresh(row: Execution) -> Execution:
    return Execution.objects.get(pk=row.pk)


def test_only_unsettled_failures_are_dead_letters(make_dead: Make, now: datetime) -> None:
    first, second = make_dead(), make_dead()
    make_dead(test_mode=True)
    make_dead(status="success")
    make_dead(resolved_at=now, resolution="Mended.")
    assert list(dead_letters()) == [second, first]
    assert [row.dead for row in Execution.objects.all()] == [False, False, False, True, True]


def test_what_waits_is_found_by_partial_indexes(make_dead: Make, task: Task, now: datetime) -> None:
    rows = [Execution.for_task(task, trigger="manual", now=now) for _ in range(3_000)]
    for number, row in enumerate(rows):
        row.status = "success" if number % 10 else "failed"
        row.error_fingerprint = f"{number % 300:032}"
    Execution.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduled_tasks_execution")
    dead = Execution.objects.dead()
    by_status = ("scheduled_tasks_dead", "scheduled_tasks_status")  # SQLite prefers the second
    assert any(name in dead[:50].explain() for name in by_status)
    of_one_cause = dead.filter(error_fingerprint=f"{10:032}")
    assert "scheduled_tasks_fingerprint" in of_one_cause[:50].explain()


def test_a_requeue_takes_its_own_or_another_payload(make_dead: Make) -> None:
    first, second = make_dead(payload={"n": 1}), make_dead(payload={"n": 1})
    again = requeue_execution(first.pk, by="user:ada")
    assert (again.payload, again.requeue_of, again.triggered_by) == ({"n": 1}, first, "user:ada")
    assert requeue_execution(second.pk, {"n": 2}).payload == {"n": 2}
    assert (fresh(first).resolution, fresh(first).resolved_by) == (
        f"Requeued as #{again.pk}.",
        "user:ada",
    )


def test_a_requeue_with_an_invalid_payload_is_refused(
    make_dead: Make, registry: HandlerRegistry
) -> None:
    row = make_dead(payload={"gone": 1})
    with pytest.raises(InvalidPayload, match="gone"):
        requeue_execution(row.pk)
    with pytest.raises(InvalidPayload, match="n"):
        requeue_execution(row.pk, {"n": "many"})
    Execution.objects.update(handler="jobs.gone")
    with pytest.raises(UnknownHandler, match=r"jobs\.gone"):
        requeue_execution(row.pk, {"n": 1})
    assert fresh(row).dead


def test_what_failed_is_resolved_with_a_reason(make_dead: Make, now: datetime) -> None:
    row = resolve_execution(make_dead().pk, " Sent by hand. ", by="user:ada")
    assert (row.resolved_at, row.resolution) == (now + MINUTE, "Sent by hand.")
    assert (row.resolved_by, row.status) == ("user:ada", "failed")
    assert not dead_letters()


@pytest.mark.parametrize("reason", ["", "  "])
def test_without_a_reason_nothing_is_resolved(make_dead: Make, reason: str) -> None:
    row = make_dead()
    with pytest.raises(ValueError, match="Give a reason"):
        resolve_execution(row.pk, reason)
    assert fresh(row).dead


@pytest.mark.parametrize(
    ("by", "reason", "said"),
    [
        ("", "", "Cancelled."),
        ("", "Not today.", "Not today."),
        ("user:ada", "", "Cancelled by user:ada."),
        ("user:ada", "Not today.", "Cancelled by user:ada: Not today."),
    ],
)
def test_what_waits_is_cancelled_and_says_by_whom(
    task: Task, by: str, reason: str, said: str
) -> None:
    row = cancel_execution(run_task_now(task).pk, reason=reason, by=by)
    assert (row.status, row.reason) == ("cancelled", said)


def test_cancelling_too_late_reports_the_state(
    task: Task, worker: Worker, make_dead: Make, now: datetime
) -> None:
    row = run_task_now(task, now=now)
    claim(worker, now)
    asked = cancel_execution(row.pk, by="user:ada")
    assert (asked.status, asked.cancel_requested_at) == ("running", now + MINUTE)
    with pytest.raises(TooLate) as told:
        cancel_execution(row.pk, by="user:bob")
    assert str(told.value) == (
        f"Execution {row.pk} of 'import' was asked to stop at {SOON}: Cancelled by user:ada."
    )
    ended = make_dead(status="success")
    with pytest.raises(TooLate) as told:
        cancel_execution(ended.pk)
    assert str(told.value) == f"Execution {ended.pk} of 'import' has already finished (success)."


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "success"}, "has not failed (success)."),
        ({"status": "queued"}, "has not finished yet (queued)."),
        (
            {"test_mode": True},
            "failed in test mode, so there is nothing to resolve. Run the task again.",
        ),
    ],
)
def test_settling_what_is_not_dead_reports_the_state(
    make_dead: Make, fields: dict[str, Any], said: str
) -> None:
    row = make_dead(**fields)
    for settle in (requeue_execution, lambda pk: resolve_execution(pk, "Mended.")):
        with pytest.raises(TooLate) as told:
            settle(row.pk)
        assert str(told.value) == f"Execution {row.pk} of 'import' {said}"


@pytest.mark.parametrize("by", ["user:ada", ""])
def test_the_second_to_settle_learns_who_was_first(make_dead: Make, by: str) -> None:
    row = make_dead()
    again = requeue_execution(row.pk, by=by)
    for settle in (requeue_execution, lambda pk: resolve_execution(pk, "Mended.")):
        with pytest.raises(TooLate) as told:
            settle(row.pk)
        who = f" by {by}" if by else ""
        assert str(told.value) == (
            f"Execution {row.pk} of 'import' was resolved{who} at {SOON}: Requeued as #{again.pk}."
        )


def test_an_overtaken_requeue_is_refused(make_dead: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    row = make_dead()
    requeue = requeueing.requeue

    def overtaken(*args: Any, **options: Any) -> Execution | None:
        resolve_execution(row.pk, "Mended.", by="user:bob")
        return requeue(*args, **options)

    monkeypatch.setattr(requeueing, "requeue", overtaken)
    with pytest.raises(TooLate, match=r"was resolved by user:bob at .*: Mended\."):
        requeue_execution(row.pk)
    assert Execution.objects.count() == 1


def test_a_deleted_tasks_failure_can_only_be_resolved(make_dead: Make, task: Task) -> None:
    row = make_dead()
    task.delete()
    with pytest.raises(TooLate, match="because its task was deleted"):
        requeue_execution(row.pk)
    assert resolve_execution(row.pk, "Nobody needs it.").resolution == "Nobody needs it."


def test_a_number_that_no_execution_has_is_told(task: Task) -> None:
    for settle in (
        cancel_execution,
        requeue_execution,
        lambda pk: resolve_execution(pk, "Mended."),
    ):
        with pytest.raises(UnknownExecution, match="There is no execution 4711"):
            settle(4711)


def test_many_are_settled_a_batch_at_a_time(
    make_dead: Make,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batches, "BATCH_SIZE", 2)
    rows = [make_dead(payload={"n": number}) for number in range(5)]
    ids = [row.pk for row in rows]
    done = requeueing.requeue_all([*ids, 4711], now, by="user:ada")
    assert [new.requeue_of_id for new in done.again] == ids
    assert [fresh(new).payload for new in done.again] == [row.payload for row in rows]
    assert {fresh(row).resolution for row in rows} == {f"Requeued as #{r.pk}." for r in done.again}
    assert requeueing.requeue_all(ids, now).again == []
    rows = [make_dead() for _ in range(5)]
    ids = [row.pk for row in rows]
    assert resolving.resolve(ids[:1], now, reason="Mended.") == ids[:1]
    assert resolving.resolve(ids, now, reason="Mended.") == ids[1:]
    assert len(stopping.cancel([new.pk for new in done.again], now)) == 5


def test_requeueing_many_refuses_only_those_that_cannot_run(make_dead: Make, now: datetime) -> None:
    good, bad, gone = make_dead(), make_dead(payload={"x": 1}), make_dead(handler="jobs.gone")
    done = requeueing.requeue_all([good.pk, bad.pk, gone.pk], now)
    assert [new.requeue_of for new in done.again] == [good]
    assert set(done.refused) == {bad.pk, gone.pk}
    assert "No handler is called 'jobs.gone'." in done.refused[gone.pk]
    assert fresh(bad).dead


def test_a_batch_costs_the_same_for_any_size(make_dead: Make, now: datetime) -> None:
    counts = []
    for size in (3, 30):
        ids = [make_dead().pk for _ in range(size)]
        with CaptureQueriesContext(connection) as asked:
            assert len(requeueing.requeue_all(ids, now).again) == size
        counts.append(sum(query["sql"].startswith("SELECT") for query in asked))
    assert counts[0] == counts[1]
