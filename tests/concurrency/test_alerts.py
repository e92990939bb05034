"""Alerts by real workers: told once, whatever their number, and told when one of them is killed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Semaphore
from typing import Any

import pytest
from django.utils import timezone

from scheduled_tasks.models import Alert, Delivery, Execution, Task
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.worker.deliveries import MAX_PER_LANE, Deliveries
from tests.concurrency.runs import make_task_of, queue_a_run
from tests.support.attempts import make_worker
from tests.support.processes import LONG, options, running, schedulers, wait_until
from tests.support.receivers import ALLOWED, HANGS, HttpReceiver, http_receiver

pytestmark = pytest.mark.django_db(transaction=True)

#: More than a worker claims for one receiver.
MANY = MAX_PER_LANE + 5


def settings_with(receiver: HttpReceiver) -> str:
    """Return TEST_OPTIONS with a webhook to a receiver, for workers that start fast."""
    backend = "scheduled_tasks.monitoring.notifiers.WebhookNotifier"
    hook = {"BACKEND": backend, "OPTIONS": {"url": receiver.url}}
    return options(NOTIFIERS={"hook": hook}, EXECUTOR="thread", **ALLOWED)


def told(receiver: HttpReceiver) -> dict[str, list[str]]:
    """Return the events that the receiver was told of each alert, in order."""
    found = defaultdict(list)
    for request in list(receiver.requests):
        body = json.loads(request.body)
        found[body["id"]].append(body["event"])
    return dict(found)


def nothing_waits() -> bool:
    return not Delivery.objects.pending().exists() and not Execution.objects.unfinished().exists()


def test_alerts_of_a_killed_worker_arrive(settings: Any) -> None:
    with http_receiver(HANGS, 200) as receiver:
        for number in range(MANY):
            queue_a_run("fail", name=f"t{number}", notify_on=["failed"])
        with running(TEST_OPTIONS=settings_with(receiver)) as victim:
            wait_until(lambda: bool(receiver.requests) and failures_written(), within=LONG)
            victim.kill()
            victim.wait()
        assert 1 <= Delivery.objects.exclude(claimed_until=None).count() <= MAX_PER_LANE
        settings.SCHEDULED_TASKS = json.loads(settings_with(receiver))
        send_all(timezone.now() + timedelta(minutes=1))
    [in_mid_air] = {json.loads(receiver.requests[0].body)["id"]}
    alerts = {str(pk) for pk in Alert.objects.values_list("pk", flat=True)}
    assert len(alerts) == MANY
    once = {alert: ["raised"] for alert in alerts}
    assert told(receiver) == {**once, in_mid_air: ["raised", "raised"]}


def send_all(now: datetime) -> None:
    """Send all that is due, as another worker does."""
    results = Semaphore(0)
    deliveries = Deliveries(make_worker("second", now), on_result=results.release)
    deliveries.run(now)
    while deliveries.busy:
        assert results.acquire(timeout=LONG)
        deliveries.run(now)
    assert nothing_waits()


def failures_written() -> bool:
    return Alert.objects.count() == MANY


ROUNDS, TASKS = 4, 6


MANY_OR_FEW = [pytest.param(count, marks=pytest.mark.long) for count in (1, 10)]


@pytest.mark.parametrize("count", [3, *MANY_OR_FEW])
def test_workers_tell_each_alert_once(count: int) -> None:
    tasks = [
        make_task_of("fail", name=f"t{number}", notify_on=["failed"]) for number in range(TASKS)
    ]
    with (
        http_receiver() as receiver,
        schedulers(count, "--no-sync", TEST_OPTIONS=settings_with(receiver)),
    ):
        for handler in rounds():
            Task.objects.update(handler=handler)
            for task in tasks:
                run_task_now(task.name)
            wait_until(lambda: not Execution.objects.unfinished().exists(), within=LONG)
        wait_until(nothing_waits, within=LONG)
    expected = {str(pk): ["raised", "cleared"] for pk in Alert.objects.values_list("pk", flat=True)}
    assert len(expected) == TASKS * ROUNDS / 2
    assert told(receiver) == expected


def rounds() -> Iterator[str]:
    for number in range(ROUNDS):
        yield "jobs.answer" if number % 2 else "jobs.fail"
