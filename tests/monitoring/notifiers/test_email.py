"""Mails, by Django's SMTP backend to a real server."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.base import BaseEmailBackend

from scheduled_tasks.exceptions import InvalidSettings, NotSent, PartlySent, PermanentError
from scheduled_tasks.monitoring.notifiers import EmailNotifier, mailing
from scheduled_tasks.monitoring.notifiers.mailing import TIMEOUT, mail_to, mailer
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
BOB = "bob@shop.example"
NO_USER = "550 No such user"


def use(settings: Any, port: int, *, timeout: Any = None) -> None:
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
    assert receiver.recipients == [[OPS], ["ada@shop.example"]]
    assert [message["To"] for message in receiver.messages] == [OPS, ADA]
    message, _ = receiver.messages
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
    monkeypatch.setattr(mailing, "mailer", FullDisk)
    with pytest.raises(OSError, match="No space left on device"):
        EmailNotifier(to=OPS).send(make_notification())


def test_addresses_that_do_not_exist_are_permanent(receiver: MailReceiver) -> None:
    receiver.refused[OPS] = NO_USER
    with pytest.raises(PermanentError, match=f"refuses {OPS}: 550 No such user"):
        EmailNotifier(to=OPS).send(make_notification())
    receiver.refused[BOB] = NO_USER
    with pytest.raises(PermanentError, match=r"550 No such user, bob@shop\.example: 550 No such"):
        EmailNotifier(to=[OPS, BOB]).send(make_notification())


def test_some_that_are_refused_are_named(receiver: MailReceiver) -> None:
    receiver.refused |= {OPS: NO_USER, BOB: "451 Try again later"}
    notifier = EmailNotifier(to=[OPS, ADA, BOB])
    with pytest.raises(PartlySent) as refused:
        notifier.send(make_notification())
    note = f"Not sent to {OPS}, which the mail server refuses: {NO_USER}."
    assert str(refused.value) == f"{note} Not sent to {BOB} for now: 451 Try again later."
    assert (refused.value.refused, refused.value.left) == (note, [BOB])
    assert receiver.recipients == [["ada@shop.example"]]


def test_only_those_who_are_left_are_tried_again(receiver: MailReceiver) -> None:
    EmailNotifier(to=[OPS, ADA]).send_again(make_notification(), [ADA, BOB])
    assert receiver.recipients == [["ada@shop.example"]]
    receiver.refused["ada@shop.example"] = NO_USER
    with pytest.raises(PartlySent) as refused:
        EmailNotifier(to=[OPS, ADA]).send_again(make_notification(), [ADA])
    assert refused.value.left == []
    assert NO_USER in refused.value.refused


def test_all_that_fail_are_all_tried_again(receiver: MailReceiver) -> None:
    receiver.refused |= {BOB: "451 Try again later", OPS: f"{NO_USER}."}
    with pytest.raises(NotSent) as failed:
        EmailNotifier(to=[BOB, OPS]).send(make_notification())
    assert not isinstance(failed.value, PartlySent)
    assert str(failed.value) == (
        f"The mail server refuses {OPS}: {NO_USER}, and postpones {BOB}: 451 Try again later."
    )


def test_a_timeout_that_is_text_is_named(settings: Any) -> None:
    use(settings, CLOSED_PORT, timeout="10")
    with pytest.raises(InvalidSettings, match=r"\(EMAIL_TIMEOUT\) must be a number of seconds"):
        EmailNotifier(to=OPS).send(make_notification())


def test_a_lost_connection_costs_one_mail(receiver: MailReceiver) -> None:
    receiver.refused[OPS] = "421 Too many connections"
    with pytest.raises(PartlySent, match=f"Not sent to {OPS} for now: 421 Too many") as failed:
        EmailNotifier(to=[OPS, ADA]).send(make_notification())
    assert failed.value.left == [OPS]
    assert receiver.recipients == [["ada@shop.example"]]


def test_a_slow_server_gets_the_rest_later(
    receiver: MailReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailing, "MAX_SECONDS", 0)
    with pytest.raises(PartlySent, match="for now: The mail server takes too long") as late:
        EmailNotifier(to=[OPS, ADA, BOB]).send(make_notification())
    assert late.value.left == [ADA, BOB]
    assert receiver.recipients == [[OPS]]


class Unable(BaseEmailBackend):
    """A backend that fails in a way of its own, with each mail."""

    def send_messages(self, email_messages: Any) -> int:
        raise ValueError("Not today.")


def test_several_errors_of_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "mailer", Unable)
    with pytest.raises(NotSent) as failed:
        EmailNotifier(to=[OPS, BOB]).send(make_notification())
    assert str(failed.value) == (
        f"Not sent to {OPS} for now: ValueError: Not today. "
        f"Not sent to {BOB} for now: ValueError: Not today."
    )


def test_a_full_mailbox_is_tried_again(receiver: MailReceiver) -> None:
    receiver.refused[OPS] = "452 Mailbox full"
    with pytest.raises(NotSent, match=f"postpones {OPS}: 452 Mailbox full"):
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
    mail_to(recipients, make_notification())
    assert [message.to for message in mail.outbox] == [[OPS], [ADA]]


def test_recipients_without_an_address_are_left_out() -> None:
    with pytest.raises(PartlySent) as partly:
        mail_to([OPS, "ada", 7, "a@b.example\x01"], make_notification())
    note = "Not sent to ada, 7, a@b.example\x01, which are not addresses."
    assert (partly.value.refused, partly.value.left) == (note, [])
    assert [message.to for message in mail.outbox] == [[OPS]]


def test_recipients_who_are_left_are_tried_again() -> None:
    mail_to([OPS, ADA, "ada"], make_notification(), left=[ADA])
    assert [message.to for message in mail.outbox] == [[ADA]]


@pytest.mark.parametrize("recipients", [None, "", [], {"to": OPS}, "ops", ["a@b@c.example"]])
def test_nobody_to_send_to_is_permanent(recipients: Any) -> None:
    with pytest.raises(PermanentError, match=r"metadata\.recipients of the task must be"):
        mail_to(recipients, make_notification())
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"to": []}, "to"),
        ({"to": ""}, "to"),
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
