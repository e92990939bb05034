"""What is written into the outbox, by which transactions, and at which cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import claiming, ending, reaping
from scheduled_tasks.lifecycle.capacity import Capacity
from scheduled_tasks.lifecycle.firing import fire_and_claim
from scheduled_tasks.models import Delivery, Execution, Task, Worker
from scheduled_tasks.monitoring.heartbeats.recording import (
    LANES_PER_SERVICE,
    REPLACED,
    WORTHLESS_AFTER,
)
from tests.monitoring.heartbeats.outbox import events
from tests.support.attempts import NOTHING, begin, claim, loss, make_worker, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
MINUTE = timedelta(minutes=1)
URL = "https://hc-ping.com/5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"


def test_a_claim_writes_the_start(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("nightly", NOTHING, heartbeat_url=URL)
    run_task_now("nightly", now=now)
    execution = claim(worker, now)
    delivery = Delivery.objects.get()
    assert delivery.transport == Delivery.Transport.HEARTBEAT
    assert delivery.event == Delivery.Event.START
    assert (delivery.target, delivery.sequence) == (URL, f"heartbeat:{task.pk}")
    assert delivery.lane.endswith(" hc-ping.com")  # without the secret of the address
    assert delivery.body["execution_id"] == execution.pk
    assert delivery.body["task_name"] == "nightly"
    assert delivery.created_at == delivery.due_at == now


def test_firing_writes_the_starts_of_what_it_claims(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    for name in ("a", "b"):
        make_task(name, NOTHING, "every 5 minutes", heartbeat_url=URL)
    make_task("c", NOTHING, "every 5 minutes")
    _, runs = fire_and_claim(Capacity(worker, 9, [NOTHING]), now + 5 * MINUTE, limit=9)
    assert len(runs) == 3
    reported = {delivery.body["execution_id"] for delivery in Delivery.objects.all()}
    assert reported == {run.execution_id for run in runs if run.task_name != "c"}


def test_only_the_first_attempt_starts(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("nightly", NOTHING, heartbeat_url=URL)
    run_task_now("nightly", now=now)
    ending.end([loss(begin(worker, now))], worker, now)
    again = claim(worker, now)
    assert again.attempt == 2
    assert events() == ["start"]


def test_a_lost_run_without_retry_has_failed(make_task: Make, now: datetime) -> None:
    worker = make_worker("dies", now)
    make_task("nightly", NOTHING, heartbeat_url=URL, on_lost="fail")
    run_task_now("nightly", now=now)
    begin(worker, now)
    worker.delete()
    reaping.reap(now)
    assert events() == ["start", "fail"]
    assert "The worker was lost." in Delivery.objects.latest("pk").body["text"]


def test_an_end_of_another_attempt_is_dropped(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("nightly", NOTHING, heartbeat_url=URL)
    run_task_now("nightly", now=now)
    execution = begin(worker, now)
    Execution.objects.update(attempt=2)
    assert ending.end([outcome(execution, now)], worker, now) == []
    assert events() == ["start"]


def test_what_is_rolled_back_is_not_reported(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("nightly", NOTHING, heartbeat_url=URL)
    run_task_now("nightly", now=now)
    with transaction.atomic():
        claim(worker, now)
        transaction.set_rollback(True)
    assert events() == []


@pytest.mark.parametrize("status", ["success", "failed"])
def test_tasks_without_an_address_cost_no_statement(
    status: str,
    make_task: Make,
    worker: Worker,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_task("nightly", NOTHING)
    run_and_end(worker, now, status)  # raises what a failure raises, once
    with CaptureQueriesContext(connection) as captured:
        run_and_end(worker, now, status)
    monkeypatch.setattr(claiming, "record_starts", lambda *_, **__: None)
    monkeypatch.setattr(ending, "record_ends", lambda *_, **__: None)
    with CaptureQueriesContext(connection) as without:
        run_and_end(worker, now, status)
    assert len(captured) == len(without)


def test_a_later_end_replaces_what_waits(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("nightly", NOTHING, heartbeat_url=URL)
    ended = run_and_end(worker, now)
    Delivery.objects.filter(event="start").update(claimed_until=now + timedelta(hours=1))
    later = now + WORTHLESS_AFTER
    next_ended = run_and_end(worker, later)
    waiting = Delivery.objects.pending().order_by("pk")
    # The first start is being sent at this moment.
    assert [(row.event, row.body["execution_id"]) for row in waiting] == [
        ("start", ended),
        ("start", next_ended),
        ("success", next_ended),
    ]
    replaced = Delivery.objects.get(event="success", body__execution_id=ended)
    assert (replaced.finished_at, replaced.delivered, replaced.error) == (later, False, REPLACED)


def test_what_waits_for_a_short_time_is_kept(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("nightly", NOTHING, heartbeat_url=URL)
    run_and_end(worker, now)
    run_and_end(worker, now + WORTHLESS_AFTER - timedelta(seconds=1))
    assert events() == ["start", "success", "start", "success"]


def test_a_start_replaces_nothing(make_task: Make, worker: Worker, now: datetime) -> None:
    """A failure that waits is the latest that is known of the task until its next end."""
    make_task("nightly", NOTHING, heartbeat_url=URL)
    run_and_end(worker, now, "failed")
    later = now + timedelta(hours=1)
    run_task_now("nightly", now=later)
    begin(worker, later)
    assert events() == ["start", "fail", "start"]


def test_other_tasks_replace_nothing(make_task: Make, worker: Worker, now: datetime) -> None:
    for name in ("nightly", "hourly"):
        make_task(name, NOTHING, heartbeat_url=URL)
    run_and_end(worker, now)
    run_and_end(worker, now + timedelta(hours=1), name="hourly")
    assert events() == ["start", "success"] * 2


def test_tasks_of_one_service_share_some_lanes(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    for number in range(3 * LANES_PER_SERVICE):
        make_task(f"task{number}", NOTHING, heartbeat_url=URL)
        run_and_end(worker, now, name=f"task{number}")
    lanes = {(row.sequence, row.lane) for row in Delivery.objects.all()}
    assert len(lanes) == 3 * LANES_PER_SERVICE
    assert len({lane for _, lane in lanes}) == LANES_PER_SERVICE


@pytest.mark.parametrize("url", ["http://[", "healthchecks+http://[", "healthchecks+", "x" * 500])
def test_nonsense_in_the_column_harms_no_run(
    url: str, make_task: Make, worker: Worker, now: datetime
) -> None:
    """A bulk update may have written it."""
    make_task("nightly", NOTHING)
    Task.objects.update(heartbeat_url=url)
    run_and_end(worker, now)
    assert Execution.objects.get().status == "success"


def run_and_end(
    worker: Worker, now: datetime, status: str = "success", *, name: str = "nightly", **fields: Any
) -> int:
    """Run a task; return the id of its execution."""
    run_task_now(name, now=now)
    [execution] = claiming.claim(worker, now, limit=1, handlers=[NOTHING]).rows
    ending.end([outcome(execution, now, status, **fields)], worker, now)
    return execution.pk
