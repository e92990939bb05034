"""How soon alerts are raised: in the transaction, or within a heartbeat interval of the limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.db import transaction

from scheduled_tasks import run_task_now
from scheduled_tasks.conf import app_settings
from scheduled_tasks.lifecycle import ending
from scheduled_tasks.models import Alert, Delivery, Execution, Task, Worker
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING, claim, outcome

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def heartbeats(begin: datetime, seconds: float) -> Iterator[datetime]:
    """Yield the moments at which a worker looks, for so long."""
    interval = timedelta(seconds=app_settings.HEARTBEAT_INTERVAL)
    for number in range(int(seconds / app_settings.HEARTBEAT_INTERVAL) + 2):
        yield begin + number * interval


@pytest.mark.any_database
def test_a_failure_and_its_alert_are_one_transaction(
    make_task: Callable[..., Task], worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, notify_on=["failed"])
    run_task_now("a", now=now)
    row = claim(worker, now)
    with transaction.atomic():
        ending.end([outcome(row, now, "failed")], worker, now)
        assert Alert.objects.get().raised_at == now
        assert Delivery.objects.count() == 2
        transaction.set_rollback(True)
    assert Execution.objects.get().status == "running"
    assert not Alert.objects.exists()
    assert not Delivery.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("grace", [None, 60])
def test_a_missed_slot_is_noticed_in_time(
    make_task: Callable[..., Task], worker: Worker, now: datetime, grace: int | None
) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_grace=grace, notify_on=["missed"])
    slot, allowed = now + HOUR, app_settings.MISFIRE_THRESHOLD + (grace or 0)
    scans = ConditionScan()
    for at in heartbeats(slot + SECOND, allowed + app_settings.HEARTBEAT_INTERVAL):
        Worker.objects.update(heartbeat_at=at, declaration_digest="tests")
        scans.run(at)
    delay = (Alert.objects.get(condition="missed").raised_at - slot).total_seconds()
    assert allowed < delay <= allowed + app_settings.HEARTBEAT_INTERVAL


@pytest.mark.any_database
def test_a_lost_worker_is_noticed_in_time(
    scheduler: Callable[..., Scheduler], worker: Worker, now: datetime
) -> None:
    seconds = [0.0]
    survivor = scheduler(monotonic=lambda: seconds[-1])
    for at in heartbeats(now, app_settings.LEASE + app_settings.HEARTBEAT_INTERVAL):
        seconds.append((at - now).total_seconds())
        survivor.tick(at)
        if at == now:
            # Just after it was seen for the first time.
            last = now + SECOND
            Worker.objects.filter(pk=worker.pk).update(heartbeat_at=last)
    delay = (Alert.objects.get(condition="worker_lost").raised_at - last).total_seconds()
    assert app_settings.LEASE < delay <= app_settings.LEASE + app_settings.HEARTBEAT_INTERVAL
