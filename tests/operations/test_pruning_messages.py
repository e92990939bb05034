"""Alerts and what was sent do not pile up either."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks.models import Alert, Delivery
from scheduled_tasks.operations.pruning import prune_executions

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


def make_alert(now: datetime, days: float, *, cleared: float | None = None) -> Alert:
    """Store an alert that was raised and cleared so many days ago, with two deliveries."""
    raised = now - days * DAY
    alert = Alert.objects.create(
        condition="failed",
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


def test_many_alerts_go_in_several_batches(now: datetime) -> None:
    for number in range(130):
        make_alert(now, 500 + number, cleared=400)
    steps: list[float] = []
    assert prune_executions(now=now, after_step=steps.append).alerts == 130
    assert len(steps) > 1


def test_heartbeats_go_a_day_after_their_end(now: datetime) -> None:
    make_delivery(now - 2 * DAY)
    make_delivery(now - 2 * DAY, delivered=False, error="refused")
    young = make_delivery(now - DAY / 2)
    pending = make_delivery(now - 2 * DAY, finished_at=None)
    late = make_delivery(now - 2 * DAY, finished_at=now - DAY / 2)
    assert prune_executions(now=now, dry_run=True).deliveries == 2
    assert prune_executions(now=now).deliveries == 2
    assert list(Delivery.objects.all()) == [young, pending, late]
