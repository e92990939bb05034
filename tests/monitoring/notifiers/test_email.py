"""Mails, by Django's SMTP backend to a real server."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend

from scheduled_tasks.exceptions import InvalidSettings, NotSent, PermanentError
from scheduled_tasks.monitoring.notifiers import EmailNotifier, email
from scheduled_tasks.monitoring.notifiers.email import TIMEOUT, mail_to, mailer
from tests.support.notifications import make_notification
from tests.support.receivers import (
    CLOSED_PORT,
    HOST,
    MailReceiver,
    mail_receiver,
    mail_settings,
    silent_server,
)

OPS, ADA = "ops@shop.example", "Ada Lovelace <ada@shop.example>"


def use(settings: Any, port: int, *, timeout: float | None = None) -> None:
    for name, value in mail_settings(port, timeout=timeout).items():
        setattr(settings, name, value)


@pytest.fixture
def receiver(settings: Any) -> Iterator[MailReceiver]:
    """Run a mail server, and send the mails of the project to it."""
    with mail_receiver() as receiver:
        use(settings, receiver.port, timeout=10)
        yield receiver


def test_a_mail_arrives_at_all_addresses(receiver: MailReceiver) -> None:
    notification = make_notification(message="Überlauf: 5 > 4")
    EmailNotifier(to=[OPS, ADA], from_email="shop@shop.example").send(notification)
    [message], [recipients] = receiver.messages, receiver.recipients
    assert recipients == [OPS, "ada@shop.example"]
    assert message["Subject"].strip() == "[error] nightly-report failed: Überlauf: 5 > 4"
    assert message["From"] == "shop@shop.example"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content().replace("\r\n", "\n").strip() == notification.text()


def test_by_default_the_project_sends_it(receiver: MailReceiver, settings: Any) -> None:
    settings.DEFAULT_FROM_EMAIL = "django@shop.example"
    EmailNotifier(to=OPS, subject_prefix="[Shop] ").send(make_notification())
    [message] = receiver.messages
    assert message["From"] == "django@shop.example"
    assert message["Subject"].startswith("[Shop] [error] nightly-report failed")


def test_mails_about_one_alert_belong_together(receiver: MailReceiver) -> None:
    for event in ("raised", "cleared"):
        EmailNotifier(to=OPS).send(make_notification(event=event))
    first, second = receiver.messages
    assert first["References"] == second["References"] != ""
    assert first["Message-ID"] != second["Message-ID"]


def test_no_text_adds_a_header(receiver: MailReceiver) -> None:
    attack = "x\r\nBcc: eve@evil.example\n\nHello"
    EmailNotifier(to=OPS).send(make_notification(message=attack, subject=attack, task=attack))
    [message], [recipients] = receiver.messages, receiver.recipients
    assert message["Bcc"] is None
    assert recipients == [OPS]


def test_a_server_that_hangs_is_given_up(settings: Any) -> None:
    with silent_server() as port:
        use(settings, port, timeout=0.3)
        with pytest.raises((NotSent, smtplib.SMTPServerDisconnected), match="timed out"):
            EmailNotifier(to=OPS).send(make_notification())


def test_without_a_timeout_there_is_one(settings: Any) -> None:
    use(settings, 25)
    assert mailer().timeout == TIMEOUT
    use(settings, 25, timeout=0.3)
    assert mailer().timeout == 0.3


def test_an_error_of_the_network_names_the_server(settings: Any) -> None:
    use(settings, CLOSED_PORT)
    with pytest.raises(NotSent) as refused:
        EmailNotifier(to=OPS).send(make_notification())
    server = f"{HOST}:{CLOSED_PORT}"
    assert (
        str(refused.value) == f"Could not connect to the mail server {server}: Connection refused."
    )


class FullDisk(BaseEmailBackend):
    """A backend without a server, and without room for another mail."""

    def open(self) -> bool:
        raise OSError("No space left on device")


def test_other_backends_speak_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(email, "mailer", FullDisk)
    with pytest.raises(OSError, match="No space left on device"):
        EmailNotifier(to=OPS).send(make_notification())


def test_addresses_that_do_not_exist_are_permanent(receiver: MailReceiver) -> None:
    receiver.refused |= {OPS}
    with pytest.raises(PermanentError, match=f"refuses {OPS}: 550 No such user"):
        EmailNotifier(to=OPS).send(make_notification())
    EmailNotifier(to=[OPS, ADA]).send(make_notification())
    assert receiver.recipients == [["ada@shop.example"]]


def test_a_full_mailbox_is_tried_again(receiver: MailReceiver) -> None:
    receiver.refused |= {OPS}
    receiver.refusal = "452 Mailbox full"
    with pytest.raises(NotSent, match=f"refuses {OPS}: 452 Mailbox full"):
        EmailNotifier(to=OPS).send(make_notification())


@pytest.mark.parametrize(
    "recipients",
    [
        [OPS, ADA],
        f"{OPS}, {ADA}",
        f"{OPS};\n{ADA};",
        [f"{OPS}, {ADA}", OPS],
    ],
)
def test_the_recipients_of_a_task(recipients: Any) -> None:
    assert mail_to(recipients, make_notification()) == []
    [message] = mail.outbox
    assert message.to == [OPS, ADA]


def test_recipients_without_an_address_are_left_out() -> None:
    left_out = mail_to([OPS, "ada", 7, "a@b.example\x01"], make_notification())
    assert left_out == ["ada", "7", "a@b.example\x01"]
    assert [message.to for message in mail.outbox] == [[OPS]]


@pytest.mark.parametrize("recipients", [None, "", [], {"to": OPS}, "ops", ["a@b@c.example"]])
def test_nobody_to_send_to_is_permanent(recipients: Any) -> None:
    with pytest.raises(PermanentError, match=r"metadata\.recipients of the task must be"):
        mail_to(recipients, make_notification())
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"to": []}, "to"),
        ({"to": "ops"}, "to"),
        ({"to": [OPS, ""]}, "to"),
        ({"to": f"{OPS}, ada@shop.example"}, "to"),
        ({"to": f"{OPS}\nBcc: eve@evil.example"}, "to"),
        ({"to": None}, "to"),
        ({"to": OPS, "from_email": "shop"}, "from_email"),
        ({"to": OPS, "from_email": ""}, "from_email"),
        ({"to": OPS, "subject_prefix": "a\nb"}, "subject_prefix"),
        ({"to": OPS, "subject_prefix": None}, "subject_prefix"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSettings, match=f"the option '{named}' must be "):
        EmailNotifier(**options)


def test_all_wrong_options_are_named() -> None:
    with pytest.raises(InvalidSettings) as refused:
        EmailNotifier(to=[OPS, "ada", "bob"], from_email="shop", subject_prefix="a\nb")
    to, *others = refused.value.mistakes
    assert to.endswith("such as 'ops@shop.example'; 'ada', 'bob' are not addresses.")
    assert len(others) == 2


def test_as_text_it_is_its_addresses() -> None:
    assert str(EmailNotifier(to=[OPS, ADA])) == f"{OPS}, {ADA}"
