"""Messages that newer code has written, while workers with older code or settings claim them."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import pytest

from scheduled_tasks.conf import AppSettings
from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from tests.support.attempts import make_worker
from tests.worker.served_outbox import SECOND, Server, state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]

GRACE = AppSettings().HANDLER_GRACE * SECOND
NOT_HERE = "NOTIFIERS of this worker has no 'pager'."


def with_notifiers(settings: Any, *names: str) -> None:
    """Have these notifiers, as code of one version does."""
    notifier = {
        "BACKEND": "scheduled_tasks.monitoring.notifiers.CallableNotifier",
        "OPTIONS": {"function": [].append},
    }
    settings.SCHEDULED_TASKS = {"NOTIFIERS": dict.fromkeys(names, notifier)}


@pytest.fixture
def old_settings(settings: Any, now: datetime) -> None:
    """Raise an alert that goes to a notifier which the settings have no more."""
    with_notifiers(settings, "pager")
    finding = Finding(condition="invariant", subject="x", message="So.")
    in_transaction(partial(raise_alerts, [finding], now, using="default"), using="default")
    with_notifiers(settings)


@pytest.mark.usefixtures("old_settings")
def test_an_old_worker_leaves_a_new_notifier(worker: Worker, now: datetime, settings: Any) -> None:
    Server(worker).send(now, 1)
    assert state("pager") == [(False, False, 1, NOT_HERE)]
    with_notifiers(settings, "pager")
    Server(make_worker("new", now)).send(now + SECOND, 1)
    assert state("pager") == [(True, True, 2, "")]


@pytest.mark.usefixtures("old_settings")
def test_an_unknown_notifier_is_given_up_later(worker: Worker, now: datetime) -> None:
    server = Server(worker)
    server.send(now + GRACE - SECOND, 1)
    assert state("pager") == [(False, False, 1, NOT_HERE)]
    server.send(now + GRACE, 1)
    assert state("pager") == [(True, False, 2, NOT_HERE)]


def test_an_unknown_transport_delivers_nothing(worker: Worker, now: datetime) -> None:
    Delivery.objects.create(
        transport="sms", event="raised", target="1", lane="sms", created_at=now, due_at=now
    )
    server, error = Server(worker), "This worker has no transport 'sms'."
    server.send(now, 1)
    assert state("1") == [(False, False, 1, error)]
    server.send(now + GRACE, 1)
    assert state("1") == [(True, False, 2, error)]
