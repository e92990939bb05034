"""What a service hears of the runs of a worker, in order and each with its run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import (
    Partial,
    Skip,
    TaskContext,
    cancel_execution,
    disable_task,
    run_task_now,
    scheduled_task,
    unregister_task,
)
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Delivery, Execution, Task
from scheduled_tasks.monitoring.heartbeats.run_ids import run_id
from scheduled_tasks.worker.run_here import run_here
from scheduled_tasks.worker.scheduler import Scheduler
from tests.monitoring.heartbeats.outbox import events, send_all, tick
from tests.monitoring.heartbeats.service import Service

pytestmark = pytest.mark.django_db

Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.talk")
    def talk(context: TaskContext, *, lines: int = 3) -> None:
        for number in range(lines):
            context.logger.info("line %s password=hunter2", number)

    @scheduled_task(name="jobs.fail")
    def fail(context: TaskContext) -> None:
        context.logger.error("about to fail")
        raise RuntimeError("no luck, password=hunter2")

    @scheduled_task(name="jobs.part")
    def part() -> Partial:
        return Partial({"done": 1}, "one source was down")

    @scheduled_task(name="jobs.skip")
    def skip() -> None:
        raise Skip("nothing to do")


def test_a_success_follows_its_start(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    make_task("talk", "jobs.talk", "every 5 minutes", heartbeat_url=service.url)
    tick(scheduler(), now + 5 * MINUTE)
    assert service.kinds == ["start", "success"]
    execution = Execution.objects.get()
    assert [ping.run for ping in service.pings] == [run_id(execution.pk)] * 2


def test_ends_carry_the_log_without_its_secrets(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    make_task("talk", "jobs.talk", "every 5 minutes", heartbeat_url=service.url)
    tick(scheduler(), now + 5 * MINUTE)
    start, success = service.pings
    assert start.body == ""
    head, _, log = success.body.partition("\n\n")
    assert head.startswith(f"success, execution {Execution.objects.get().pk}, ")
    assert [line.split(" ", 1)[1].split(" pass")[0] for line in log.splitlines()] == [
        "INFO line 0",
        "INFO line 1",
        "INFO line 2",
    ]
    assert "hunter2" not in success.body


def test_a_long_log_is_sent_from_its_end(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    payload = {"lines": 1_000}
    make_task("talk", "jobs.talk", "every 5 minutes", payload=payload, heartbeat_url=service.url)
    tick(scheduler(), now + 5 * MINUTE)
    body = service.pings[1].body
    assert len(body.encode()) < 10_000
    assert "line 999 " in body.splitlines()[-1]
    assert "line 900 " in body
    assert "line 899 " not in body


def test_a_failure_is_reported_after_the_last_attempt(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    retries = {"max_retries": 2, "retry_delay": 60, "retry_backoff": 1}
    make_task("fail", "jobs.fail", "every hour", heartbeat_url=service.url, **retries)
    worker = scheduler()
    tick(worker, now + timedelta(hours=1))
    tick(worker, now + timedelta(hours=1, minutes=2))
    assert service.kinds == ["start"]
    tick(worker, now + timedelta(hours=1, minutes=4))
    assert service.kinds == ["start", "fail"]
    [start, fail] = service.pings
    assert start.run == fail.run
    assert "failed, execution" in fail.body
    assert "attempt 3" in fail.body
    assert "no luck" in fail.body
    assert "about to fail" in fail.body
    assert "hunter2" not in fail.body


@pytest.mark.parametrize(
    "said", ["jobs.part: partial: one source was down", "jobs.skip: skipped: nothing to do"]
)
def test_a_run_that_ends_well_is_a_success(
    said: str, make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    handler, status, reason = said.split(": ")
    make_task("well", handler, "every 5 minutes", heartbeat_url=service.url)
    tick(scheduler(), now + 5 * MINUTE)
    assert service.kinds == ["start", "success"]
    assert service.pings[1].body.startswith(f"{status}, execution ")
    assert reason in service.pings[1].body


def test_a_run_by_hand_is_reported(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    make_task("talk", "jobs.talk", heartbeat_url=service.url)
    run_task_now("talk", now=now)
    tick(scheduler(), now)
    assert service.kinds == ["start", "success"]


def test_a_run_here_is_reported_unless_it_tests(
    make_task: Make, now: datetime, service: Service
) -> None:
    task = make_task("talk", "jobs.talk", heartbeat_url=service.url)
    run_here(Execution.for_task(task, trigger="cli", now=now, test_mode=True), now=now)
    assert events() == []
    run_here(Execution.for_task(task, trigger="cli", now=now), now=now)
    assert events() == ["start", "success"]


def test_plain_addresses_hear_of_successes_only(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    for handler in ("jobs.talk", "jobs.fail"):
        url = f"{service.origin}/alive?of={handler}"
        make_task(handler[5:], handler, "every 5 minutes", heartbeat_url=url)
    tick(scheduler(), now + 5 * MINUTE)
    assert service.requests == ["GET /alive?of=jobs.talk"]


def test_slots_that_are_not_run_are_not_reported(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    skips = {"misfire_policy": "skip"}
    make_task("talk", "jobs.talk", "every 5 minutes", heartbeat_url=service.url, **skips)
    tick(scheduler(), now + 23 * MINUTE)
    assert Execution.objects.get().status == "missed"
    assert service.requests == []


@pytest.fixture
def waiting_for_a_retry(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> Execution:
    """Return an execution that has failed once, and of which the service knows."""
    retries = {"max_retries": 1, "retry_delay": 3600}
    make_task("fail", "jobs.fail", "every hour", heartbeat_url=service.url, **retries)
    tick(scheduler(), now + timedelta(hours=1))
    assert service.kinds == ["start"]
    return Execution.objects.get()


GIVE_UP: dict[str, Callable[[Execution], Any]] = {
    "cancelled": lambda row: cancel_execution(row.pk, reason="The file was wrong.", by="user:ada"),
    "disabled": lambda row: disable_task("fail"),
    "deleted": lambda row: unregister_task("fail"),
}


@pytest.mark.parametrize("how", GIVE_UP)
def test_giving_up_before_a_retry_is_a_failure(
    how: str, waiting_for_a_retry: Execution, scheduler: MakeScheduler, service: Service
) -> None:
    GIVE_UP[how](waiting_for_a_retry)
    send_all(scheduler(), Delivery.objects.latest("pk").created_at)
    assert service.kinds == ["start", "fail"]
    assert service.pings[0].run == service.pings[1].run
    reason = {"cancelled": "by user:ada", "disabled": "disabled", "deleted": "deleted"}[how]
    assert reason in service.pings[1].body


def test_what_was_never_tried_is_not_reported(
    make_task: Make, now: datetime, service: Service
) -> None:
    make_task("talk", "jobs.talk", heartbeat_url=service.url)
    execution = run_task_now("talk", now=now)
    cancel_execution(execution.pk)
    assert Execution.objects.get().status == "cancelled"
    assert events() == []


def test_the_end_goes_to_the_current_address(
    waiting_for_a_retry: Execution, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    Task.objects.update(heartbeat_url=f"cronitor+{service.origin}/p/key/fail")
    tick(scheduler(), now + timedelta(hours=3))
    start, fail = Delivery.objects.order_by("pk")[:2]
    assert start.target == service.url
    assert fail.target == f"cronitor+{service.origin}/p/key/fail"


def test_a_service_that_was_away_hears_all(
    make_task: Make, scheduler: MakeScheduler, now: datetime, service: Service
) -> None:
    make_task("talk", "jobs.talk", "every 5 minutes", heartbeat_url=service.url)
    service.answers = [(503, b"away")] * 9
    worker = scheduler()
    tick(worker, now + 5 * MINUTE)
    assert service.pings == []
    service.answers.clear()
    send_all(worker, now + 20 * MINUTE)
    assert service.kinds == ["start", "success"]


def test_the_worker_logs_nothing_of_heartbeats(
    make_task: Make,
    scheduler: MakeScheduler,
    now: datetime,
    service: Service,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The address is a secret."""
    caplog.set_level(logging.DEBUG, "scheduled_tasks")
    make_task("talk", "jobs.talk", "every 5 minutes", heartbeat_url=service.url)
    tick(scheduler(), now + 5 * MINUTE)
    assert str(service.check) not in caplog.text
