"""Mails to several addresses: who has got one gets no second one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from scheduled_tasks.models import Delivery, Task, Worker
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.monitoring.notifiers import CallableNotifier
from tests.support.attempts import NOTHING
from tests.support.notifications import make_notification
from tests.support.receivers import MailReceiver, mail_receiver, mail_settings
from tests.worker.served_outbox import SECOND, Server, state

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]

OPS, ADA, BOB = (f"{name}@shop.example" for name in ("ops", "ada", "bob"))
BUSY, NO_USER = "451 Try again later", "550 No such user"


@pytest.fixture
def mails(settings: Any) -> Iterator[MailReceiver]:
    with mail_receiver() as receiver:
        for name, value in mail_settings(receiver.port, timeout=10).items():
            setattr(settings, name, value)
        receiver.refused |= {BOB: NO_USER, ADA: BUSY}
        yield receiver


def send_until_done(server: Server, mails: MailReceiver, now: datetime, target: str) -> None:
    """Send what is due, let the server take mails to ADA, and send again."""
    server.send(now, 1)
    note = f"Not sent to {BOB}, which the mail server refuses: {NO_USER}."
    assert state(target) == [(False, False, 1, f"{note} Not sent to {ADA} for now: {BUSY}.")]
    del mails.refused[ADA]
    server.send(now + SECOND, 1)
    assert state(target) == [(True, True, 2, note)]
    assert mails.recipients == [[OPS], [ADA]]


def test_a_notifier_sends_to_the_rest(
    mails: MailReceiver, worker: Worker, now: datetime, settings: Any
) -> None:
    backend = "scheduled_tasks.monitoring.notifiers.EmailNotifier"
    notifier = {"BACKEND": backend, "OPTIONS": {"to": [OPS, BOB, ADA]}}
    settings.SCHEDULED_TASKS = {"NOTIFIERS": {"ops": notifier}}
    finding = Finding(condition="invariant", subject="x", message="So.")
    in_transaction(partial(raise_alerts, [finding], now, using="default"), using="default")
    send_until_done(Server(worker), mails, now, "ops")


def test_recipients_of_a_task_who_are_left(
    mails: MailReceiver, worker: Worker, now: datetime, make_task: Callable[..., Task]
) -> None:
    metadata = {"recipients": [OPS, BOB, ADA]}
    task = make_task("a", NOTHING, metadata=metadata)
    finding = Finding(condition="failed", task=task, message="So.")
    in_transaction(partial(raise_alerts, [finding], now, using="default"), using="default")
    send_until_done(Server(worker), mails, now, Delivery.objects.get().target)


def test_other_notifiers_send_to_everyone_again() -> None:
    received: list[object] = []
    notification = make_notification()
    CallableNotifier(function=received.append).send_again(notification, ["ada"])
    assert received == [notification]
