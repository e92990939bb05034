"""A test alert from the command line."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail

from tests.commands.conftest import Command
from tests.support.receivers import ALLOWED, http_receiver, mail_receiver, mail_settings

PACKAGE = "scheduled_tasks.monitoring.notifiers"

#: The checks of Django 6.1 ask the database whether it supports JSON.
pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


def use(settings: Any, backend: str, **options: Any) -> None:
    notifier = {"BACKEND": f"{PACKAGE}.{backend}", "OPTIONS": options}
    settings.SCHEDULED_TASKS = {**ALLOWED, "NOTIFIERS": {"ops": notifier}}


def test_it_says_where_the_alert_went(command: Command, settings: Any) -> None:
    use(settings, "EmailNotifier", to=["ops@shop.example", "ada@shop.example"])
    ran = command("sendtestalert", "ops")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "The notifier 'ops' has sent a test alert to ops@shop.example, ada@shop.example.\n"
    )
    assert [message.to for message in mail.outbox] == [["ops@shop.example"], ["ada@shop.example"]]


def test_an_address_that_is_refused_fails(command: Command, settings: Any) -> None:
    with mail_receiver() as receiver:
        receiver.refused["ada@shop.example"] = "550 No such user"
        use(settings, "EmailNotifier", to=["ops@shop.example", "ada@shop.example"])
        for name, value in mail_settings(receiver.port, timeout=10).items():
            setattr(settings, name, value)
        ran = command("sendtestalert", "ops")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "The notifier 'ops' could not send the test alert: Not sent to ada@shop.example, which the "
        "mail server refuses: 550 No such user. The other receivers have got it."
    )
    assert receiver.recipients == [["ops@shop.example"]]


def test_a_failure_is_told_on_standard_error(command: Command, settings: Any) -> None:
    with http_receiver(404) as receiver:
        use(settings, "WebhookNotifier", url=f"{receiver.url}/hunter2")
        ran = command("sendtestalert", "ops")
    assert (ran.code, ran.out) == (1, "")
    reason = f"{receiver.url} answered 404 Not Found."
    assert ran.err == f"The notifier 'ops' could not send the test alert: {reason}"


def test_an_unknown_name_fails(command: Command, settings: Any) -> None:
    use(settings, "EmailNotifier", to="ops@shop.example")
    ran = command("sendtestalert", "pager")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "There is no notifier 'pager': use ops."
    assert command("sendtestalert", "OPS").err.endswith("did you mean 'ops'?")


def test_an_address_that_is_not_allowed(command: Command, settings: Any) -> None:
    use(settings, "WebhookNotifier", url="http://127.0.0.2/x")
    ran = command("sendtestalert", "ops")
    assert ran.code == 1
    assert "add '127.0.0.2' to SCHEDULED_TASKS['OUTGOING_ALLOW']" in ran.err


@pytest.mark.parametrize("arguments", [(), ("ops", "--heartbeat=backup"), ("ops", "--heartbeat")])
def test_one_thing_is_tested(command: Command, arguments: tuple[str, ...]) -> None:
    ran = command("sendtestalert", *arguments)
    said = "Give either the name of a notifier, or --heartbeat [TASK]."
    assert (ran.code, ran.err) == (1, said)


def test_a_wrong_setting_fails_before(command: Command, settings: Any) -> None:
    use(settings, "EmailNotifier", to="ops")
    ran = command("sendtestalert", "ops")
    assert (ran.code, ran.out) == (1, "")
    assert "E011) SCHEDULED_TASKS['NOTIFIERS']['ops']: the option 'to' must be" in ran.err
