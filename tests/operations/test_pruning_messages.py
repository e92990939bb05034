"""Alerts and what was sent do not pile up either."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks.models import Alert, Delivery
from scheduled_tasks.monitoring.alerts import expiry
from scheduled_tasks.operations import pruning
from scheduled_tasks.operations.pruning import prune_executions

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def make_alert(
    now: datetime, days: float, *, cleared: float | None = None, condition: str = "failed"
) -> Alert:
    """Store an alert that was raised and cleared so many days ago, with two deliveries."""
    raised = now - days * DAY
    alert = Alert.objects.create(
        condition=condition,
        severity="error",
        message="It failed.",
        raised_at=raised,
        open_key=None if cleared is not None else f"{days:064}",
        cleared_at=None if cleared is None else now - cleared * DAY,
    )
    for event in ("raised", "cleared"):
        make_delivery(raised, alert=alert, event=event, transport="notifier")
    return alert


def make_delivery(moment: datetime, **fields: Any) -> Delivery:
    values = {"transport": "heartbeat", "event": "start", "finished_at": moment, "delivered": True}
    return Delivery.objects.create(
        target="https://example.com/ping",
        sequence="s",
        created_at=moment,
        due_at=moment,
        **values | fields,
    )


def test_cleared_alerts_go_with_their_deliveries(now: datetime) -> None:
    make_alert(now, 400, cleared=366)
    kept = [make_alert(now, 400, cleared=364), make_alert(now, 5_000)]
    planned = prune_executions(now=now, dry_run=True)
    pruned = prune_executions(now=now)
    assert (pruned.alerts, pruned.deliveries) == (planned.alerts, planned.deliveries) == (1, 2)
    assert set(Alert.objects.all()) == set(kept)
    assert Delivery.objects.count() == 4


def test_old_reminders_of_open_alerts_go(now: datetime) -> None:
    """Who was told that it was raised stays known."""
    alert = make_alert(now, 400)
    for days in (399, 366, 364):
        make_delivery(now - days * DAY, alert=alert, event="reminder", transport="notifier")
    make_delivery(now - 366 * DAY, alert=alert, event="reminder", finished_at=None)
    planned = prune_executions(now=now, dry_run=True)
    assert prune_executions(now=now).deliveries == planned.deliveries == 2
    events = alert.deliveries.order_by("pk").values_list("event", flat=True)
    assert list(events) == ["raised", "cleared", "reminder", "reminder"]


def test_successes_stay_as_long_as_executions(now: datetime) -> None:
    for days in (400, 91):
        make_alert(now, days, cleared=days, condition="success")
    kept = [make_alert(now, 89, cleared=89, condition="success"), make_alert(now, 91, cleared=91)]
    planned = prune_executions(now=now, dry_run=True)
    pruned = prune_executions(now=now)
    assert (pruned.alerts, pruned.deliveries) == (planned.alerts, planned.deliveries) == (2, 4)
    assert set(Alert.objects.all()) == set(kept)


def test_an_index_finds_old_successes(now: datetime) -> None:
    make_alert(now, 400, cleared=400, condition="success")
    Alert.objects.bulk_create(
        Alert(condition="failed", severity="error", raised_at=now - number * DAY, cleared_at=now)
        for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduled_tasks_alert")
    old = expiry.successes_before(now - 90 * DAY, using="default")
    assert "scheduled_tasks_alert_kind" in old.values_list("pk")[:100].explain()


def test_many_alerts_go_in_several_batches(now: datetime) -> None:
    for number in range(130):
        make_alert(now, 500 + number, cleared=400)
    steps: list[float] = []
    assert prune_executions(now=now, after_step=steps.append).alerts == 130
    assert len(steps) > 1


def test_messages_of_an_alert_go_in_batches(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reminder every second makes more of them than one transaction should delete."""
    for number in range(3):
        alert = make_alert(now, 500 + number, cleared=400)
        add_reminders(alert, 1_000)
    kept = make_alert(now, 10, cleared=5)
    sizes: list[int] = []
    real = expiry.delete_alerts

    def measured(*args: Any, **options: Any) -> tuple[int, int]:
        alerts, deliveries = real(*args, **options)
        sizes.append(alerts + deliveries)
        assert sizes[-1] <= options["limit"]
        return alerts, deliveries

    monkeypatch.setattr(expiry, "delete_alerts", measured)
    pruned = prune_executions(now=now)
    assert (pruned.alerts, pruned.deliveries, sum(sizes)) == (3, 3_006, 3_009)
    assert (Alert.objects.get(), Delivery.objects.count()) == (kept, 2)


def add_reminders(alert: Alert, count: int) -> None:
    moment = alert.raised_at
    values = {"transport": "notifier", "event": "reminder", "target": "ops", "sequence": "s"}
    Delivery.objects.bulk_create(
        Delivery(**values, alert=alert, created_at=moment, due_at=moment, finished_at=moment)
        for _ in range(count)
    )


def test_heartbeats_go_a_day_after_their_end(now: datetime) -> None:
    make_delivery(now - 2 * DAY)
    make_delivery(now - 2 * DAY, delivered=False, error="refused")
    young = make_delivery(now - DAY / 2)
    pending = make_delivery(now - 2 * DAY, finished_at=None)
    late = make_delivery(now - 2 * DAY, finished_at=now - DAY / 2)
    assert prune_executions(now=now, dry_run=True).deliveries == 2
    assert prune_executions(now=now).deliveries == 2
    assert list(Delivery.objects.all()) == [young, pending, late]


def test_heartbeats_of_the_future_end_no_walk(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "WINDOW_SIZE", 5)
    for _ in range(5):
        make_delivery(now + 3_650 * DAY, finished_at=now - 2 * DAY)
    make_delivery(now - 2 * DAY)
    young = make_delivery(now - DAY / 2)
    assert prune_executions(now=now).deliveries == 6
    assert list(Delivery.objects.all()) == [young]
