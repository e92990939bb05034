"""Windows that change while alerts are raised, and while others change: nobody keeps an old end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from scheduled_tasks.models import Delivery, MaintenanceWindow
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.operations.maintenance_windows import end_window, start_maintenance
from tests.concurrency.beside import elsewhere, somebody_waits_for_a_lock
from tests.support.processes import LONG, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("ops")]

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CALLABLE = "scheduled_tasks.monitoring.notifiers.CallableNotifier"


@pytest.fixture(autouse=True)
def postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time.")


@pytest.fixture
def ops(settings: Any) -> None:
    """Set up one notifier."""
    options = {"function": "tests.monitoring.received.receive"}
    settings.SCHEDULED_TASKS = {"NOTIFIERS": {"ops": {"BACKEND": CALLABLE, "OPTIONS": options}}}


def tell(now: datetime) -> None:
    found = Finding(condition="worker_lost", message="Boom", subject="web-1")
    with transaction.atomic():
        raise_alerts([found], now, using="default")


def due() -> datetime:
    return Delivery.objects.get().due_at


def beside(first: Callable[[], Any], second: Callable[[], Any]) -> None:
    """Do the second while the first is done but not committed; it waits for the first."""
    with elsewhere() as pool:
        with transaction.atomic():
            first()
            result = pool.submit(second)
            wait_until(lambda: result.done() or somebody_waits_for_a_lock(), within=LONG)
        result.result()


def test_an_alert_follows_a_window_that_ends(now: datetime) -> None:
    window = start_maintenance(now + HOUR, "Deploy", now=now)
    beside(
        lambda: tell(now + MINUTE),
        lambda: end_window(window, now=now + MINUTE),
    )
    assert due() == now + MINUTE


def test_a_window_that_has_ended_holds_no_alert(now: datetime) -> None:
    window = start_maintenance(now + HOUR, "Deploy", now=now)

    def tell_in_transaction() -> None:
        with transaction.atomic():
            tell(now + MINUTE)

    beside(lambda: end_window(window, now=now + MINUTE), tell_in_transaction)
    assert due() == now + MINUTE


def test_windows_that_end_together_hold_nothing(now: datetime) -> None:
    first, second = (start_maintenance(now + HOUR, "Deploy", now=now) for _ in range(2))
    tell(now)
    beside(
        lambda: end_window(first, now=now + MINUTE),
        lambda: end_window(second, now=now + MINUTE),
    )
    assert not MaintenanceWindow.objects.in_force(now + MINUTE).exists()
    assert due() == now + MINUTE
