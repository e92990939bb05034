"""Messages about alerts that cannot be sent are a problem."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks.models import Delivery
from scheduled_tasks.monitoring.outbox import overdue
from tests.monitoring.fleet import HOUR, MINUTE, make_scheduler
from tests.monitoring.health.reports import said

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

WELL = ("OK", "1 scheduler is alive, nothing is late.")


def make_message(now: datetime, **fields: Any) -> None:
    """Store a message of an hour ago that was tried all the time and is due in a minute."""
    tried = {"created_at": now - HOUR, "due_at": now + MINUTE, "attempts": 20}
    Delivery.objects.create(**{"transport": "mail", "event": "raised", **tried, **fields})


def test_messages_that_cannot_be_sent_warn(now: datetime) -> None:
    make_scheduler(now)
    make_message(now)
    sentence = "could not be sent, the oldest of 2026-03-01 11:00:00 UTC: see Alerts in the admin."
    assert said(now) == WELL
    assert said(now, deep=True) == ("WARNING", f"1 message about alerts {sentence}")
    make_message(now, transport="notifier", attempts=0, due_at=now - HOUR)
    make_message(now, created_at=now - 15 * MINUTE, attempts=10)
    assert said(now, deep=True) == ("WARNING", f"3 messages about alerts {sentence}")


@pytest.mark.parametrize(
    "fields",
    [
        {"transport": "heartbeat"},
        {"finished": True},
        {"minutes": 14},
        {"attempts": 0},  # held back until now
        {"attempts": 9},  # held back until some minutes ago
    ],
    ids=str,
)
def test_other_messages_are_no_problem(now: datetime, fields: dict[str, Any]) -> None:
    make_scheduler(now)
    fields = dict(fields)
    if fields.pop("finished", False):
        fields["finished_at"] = now
    if minutes := fields.pop("minutes", 0):
        fields["created_at"] = now - minutes * MINUTE
    make_message(now, **fields)
    assert said(now, deep=True) == WELL


def test_of_very_many_only_some_count(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overdue, "MAX_COUNTED", 2)
    for _ in range(3):
        make_message(now)
    [sentence] = overdue.overdue_sentences(now, using="default")
    assert sentence.startswith("At least 2 messages about alerts could not be sent, ")


def test_the_index_of_claims_finds_them(now: datetime) -> None:
    sent = {"transport": "mail", "event": "raised", "created_at": now - HOUR, "due_at": now - HOUR}
    Delivery.objects.bulk_create(Delivery(**sent, finished_at=now) for _ in range(2_000))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduled_tasks_delivery")
    found = Delivery.objects.filter(overdue.is_overdue(now)).in_order()
    assert "scheduled_tasks_outbox" in found[: overdue.MAX_COUNTED].values("pk").explain()
