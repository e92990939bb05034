"""Notifications by mail, through Django."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

import django
from django.core import mail

from scheduled_tasks.exceptions import InvalidSettings, NotSent, PermanentError
from scheduled_tasks.mistakes import all_mistakes
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.notifiers.options import is_address, refused, texts
from scheduled_tasks.runtime.sanitizing import safe_repr

#: Seconds for each step of SMTP, if the settings give none: Django would wait for ever.
TIMEOUT = 10.0
#: From here on, the server says that the address will not do later, either.
PERMANENT_REPLY = 500
ADDRESSES = "an address, or a list of addresses, such as 'ops@shop.example'"
SENDER = "an address, or be left out for DEFAULT_FROM_EMAIL"
#: What may part the addresses of one text.
SEPARATORS = re.compile(r"[,;\n]")


class EmailNotifier(Notifier):
    """Sends mails to fixed addresses, with the mail settings of the project.

    ``from_email`` is DEFAULT_FROM_EMAIL by default.
    """

    def __init__(
        self, *, to: str | list[str], from_email: str | None = None, subject_prefix: str = ""
    ) -> None:
        with all_mistakes() as mistakes:
            with mistakes.collected():
                self.to = addresses(to)
            with mistakes.collected():
                if from_email is not None and not is_address(from_email):
                    raise refused("from_email", SENDER)
            with mistakes.collected():
                if not isinstance(subject_prefix, str) or not subject_prefix.isprintable():
                    raise refused("subject_prefix", "text of one line, such as '[Shop] '")
        self.from_email = from_email
        self.subject_prefix = subject_prefix

    def send(self, notification: Notification) -> None:
        """Send one mail to all addresses. Raise PermanentError if the server refuses them all."""
        send_mail(self.to, notification, sender=self.from_email, prefix=self.subject_prefix)

    def __str__(self) -> str:
        """Return the addresses."""
        return ", ".join(self.to)


def addresses(to: Any) -> list[str]:
    """Return the addresses of the option. Raise InvalidSettings with those that are none."""
    found = texts("to", to, ADDRESSES)
    invalid = [repr(text) for text in found if not is_address(text)]
    if not invalid:
        return found
    said = f"the option 'to' must be {ADDRESSES}; {', '.join(invalid)}"
    verb = "is not an address" if len(invalid) == 1 else "are not addresses"
    raise InvalidSettings(f"{said} {verb}.")


def mail_to(recipients: Any, notification: Notification) -> list[str]:
    """Send a mail to the recipients of a task; return those that are no addresses.

    ``recipients`` is what ``metadata.recipients`` holds: a list of addresses, or one text with
    commas, semicolons or line ends between them. Raise PermanentError if there is no address.
    """
    found = dict.fromkeys(recipients_in(recipients))
    to = [text for text in found if is_address(text)]
    invalid = [text for text in found if not is_address(text)]
    if not to:
        raise PermanentError(
            f"metadata.recipients of the task must be {ADDRESSES}, not {safe_repr(recipients)}."
        )
    send_mail(to, notification)
    return invalid


def recipients_in(recipients: Any) -> Iterator[str]:
    entries = recipients if isinstance(recipients, list) else [recipients]
    for entry in entries:
        parts = SEPARATORS.split(entry) if isinstance(entry, str) else [safe_repr(entry)]
        yield from filter(None, map(str.strip, parts))


def send_mail(
    to: list[str], notification: Notification, *, sender: str | None = None, prefix: str = ""
) -> None:
    message = mail.EmailMessage(
        subject=prefix + notification.title(),
        body=notification.text(),
        from_email=sender,
        to=to,
        headers={
            # Mail programs show all messages about one alert together.
            "References": f"<{notification.id}@scheduled-tasks>",
            # No replies by those who are on holiday (RFC 3834).
            "Auto-Submitted": "auto-generated",
        },
    )
    with connected(mailer()) as connection:
        try:
            connection.send_messages([message])
        except SMTPRecipientsRefused as error:
            raise refusal(error.recipients) from error


@contextmanager
def connected(connection: Any) -> Iterator[Any]:
    """Open a connection for the block. Raise NotSent, which names the server, if that fails."""
    try:
        connection.open()
    except OSError as error:
        # What the server has answered, and a backend without a server, speak for themselves.
        if isinstance(error, SMTPException) or not hasattr(connection, "host"):
            raise
        server, reason = f"{connection.host}:{connection.port}", error.strerror or str(error)
        raise NotSent(f"Could not connect to the mail server {server}: {reason}.") from error
    try:
        yield connection
    finally:
        with suppress(OSError):  # a mail that was sent stays sent
            connection.close()


def refusal(replies: Mapping[str, tuple[int, bytes]]) -> Exception:
    """Return the error for addresses that the server refuses, each with its reply."""
    for_good = all(code >= PERMANENT_REPLY for code, _ in replies.values())
    reasons = [
        f"{address}: {code} {text.decode(errors='replace')}"
        for address, (code, text) in replies.items()
    ]
    kind = PermanentError if for_good else NotSent
    return kind(f"The mail server refuses {', '.join(reasons)}.")


def mailer() -> Any:
    """Return a connection by the settings of the project, which does not wait for ever."""
    # Django 6.1 has deprecated get_connection().
    connection: Any = mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()
    if getattr(connection, "timeout", TIMEOUT) is None:
        connection.timeout = TIMEOUT
    return connection
