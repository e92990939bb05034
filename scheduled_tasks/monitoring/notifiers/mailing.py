"""Sends a mail to each of several addresses, and tells which of them have not got it, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from smtplib import SMTPException, SMTPRecipientsRefused
from time import monotonic
from typing import Any

import django
from django.core import mail

from scheduled_tasks.exceptions import InvalidSettings, NotSent, PartlySent, PermanentError
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.runtime.recipients import (
    ADDRESSES,
    are_no_addresses,
    is_address,
    recipients_in,
)
from scheduled_tasks.runtime.sanitizing import safe_repr

#: Seconds for each step of SMTP, if the settings give none: Django would wait for ever.
TIMEOUT = 10.0
#: No mail of one attempt is begun later; the rest is for the next attempt. A worker gives up an
#: attempt that takes too long, and forgets who has got it.
MAX_SECONDS = 30.0
#: From here on, the server says that the address will not do later, either.
PERMANENT_REPLY = 500


def mail_to(recipients: Any, notification: Notification, *, left: Sequence[str] = ()) -> None:
    """Send a mail to the recipients of a task, or to those that an attempt before has left.

    ``recipients`` is what ``metadata.recipients`` holds: a list of addresses, or one text with
    commas, semicolons or line ends between them. Raise PermanentError if there is no address, and
    PartlySent if something else is among them.
    """
    found = dict.fromkeys(left or recipients_in(recipients))
    to = [text for text in found if is_address(text)]
    invalid = [text for text in found if not is_address(text)]
    if not to:
        raise PermanentError(
            f"metadata.recipients of the task must be {ADDRESSES}, not {safe_repr(recipients)}."
        )
    notes = [f"Not sent to {', '.join(invalid)}, which {are_no_addresses(invalid)}."]
    send_mails(mails(to, notification), notes=notes if invalid else (), others_have_it=bool(left))


def mails(
    to: Sequence[str], notification: Notification, *, sender: str | None = None, prefix: str = ""
) -> list[mail.EmailMessage]:
    """Return a mail for each address: no backend says which of several addresses are refused."""
    return [
        mail.EmailMessage(
            subject=prefix + notification.title(),
            body=notification.text(),
            from_email=sender,
            to=[address],
            headers={
                # Mail programs show all messages about one alert together.
                "References": f"<{notification.id}@scheduled-tasks>",
                # No replies by those who are on holiday (RFC 3834).
                "Auto-Submitted": "auto-generated",
            },
        )
        for address in to
    ]


def send_mails(
    messages: Sequence[mail.EmailMessage],
    *,
    notes: Sequence[str] = (),
    others_have_it: bool = False,
) -> None:
    """Send mails. If none arrives, raise why, unless an attempt before has reached others.

    Raise PartlySent if some arrive, and if there are notes on who could not be sent one.
    """
    failures = failures_of(messages)
    if len(failures) == len(messages) and not others_have_it:
        raise failure_of_all(failures)
    left = [address for address, error in failures.items() if not is_for_good(error)]
    refused = " ".join(
        [
            *notes,
            *(
                f"Not sent to {address}, which the mail server refuses: {reason(error)}."
                for address, error in failures.items()
                if address not in left
            ),
        ]
    )
    waiting = [not_yet(address, failures[address]) for address in left]
    if refused or waiting:
        raise PartlySent(" ".join(filter(None, [refused, *waiting])), left=left, refused=refused)


def failures_of(messages: Sequence[mail.EmailMessage]) -> dict[str, Exception]:
    """Send mails over one connection, each to one address; return the errors by address."""
    failures: dict[str, Exception] = {}
    connection, end = mailer(), monotonic() + MAX_SECONDS
    try:
        for number, message in enumerate(messages):
            try:
                connect(connection, late=number > 0 and monotonic() >= end)
            except Exception as error:  # noqa: BLE001 -- backends may raise anything
                rest = [address for each in messages[number:] for address in each.to]
                return failures | dict.fromkeys(rest, error)
            try:
                connection.send_messages([message])
            except Exception as error:  # noqa: BLE001 -- backends may raise anything
                failures[message.to[0]] = error
                # The server may have closed it, so the next mail gets one of its own.
                close(connection)
    finally:
        close(connection)
    return failures


def connect(connection: Any, *, late: bool) -> None:
    """Open a connection unless it is open. Raise NotSent if that fails, or if it is too late."""
    if late:
        raise NotSent("The mail server takes too long.")
    try:
        connection.open()
    except OSError as error:
        # What the server has answered, and a backend without a server, speak for themselves.
        if isinstance(error, SMTPException) or not hasattr(connection, "host"):
            raise
        server, reason = f"{connection.host}:{connection.port}", error.strerror or str(error)
        raise NotSent(f"Could not connect to the mail server {server}: {reason}.") from error


def close(connection: Any) -> None:
    with suppress(OSError):  # a mail that was sent stays sent
        connection.close()


def failure_of_all(failures: Mapping[str, Exception]) -> Exception:
    """Return the error for mails that all failed: the one that they share, or all of them."""
    errors = list(failures.values())
    refusals = [error for error in errors if isinstance(error, SMTPRecipientsRefused)]
    if len(refusals) == len(errors):
        return refusal({to: said for error in refusals for to, said in error.recipients.items()})
    if all(error is errors[0] for error in errors):
        return errors[0]
    return NotSent(" ".join(not_yet(address, error) for address, error in failures.items()))


def is_for_good(error: Exception) -> bool:
    return isinstance(error, SMTPRecipientsRefused) and isinstance(
        refusal(error.recipients), PermanentError
    )


def not_yet(address: str, error: Exception) -> str:
    return f"Not sent to {address} for now: {reason(error)}."


def reason(error: Exception) -> str:
    """Return the replies of the server, or else the error, without the final dot."""
    if isinstance(error, SMTPRecipientsRefused):
        return ", ".join(map(reply_text, error.recipients.values()))
    return error_text(error).rstrip(".")


def reply_text(reply: tuple[int, bytes]) -> str:
    code, text = reply
    return f"{code} {text.decode(errors='replace').rstrip('.')}"


def refusal(replies: Mapping[str, tuple[int, bytes]]) -> Exception:
    """Return the error for addresses that the server refuses, each with its reply."""
    by_verb: dict[str, list[str]] = {"refuses": [], "postpones": []}
    for address, reply in replies.items():
        verb = "refuses" if reply[0] >= PERMANENT_REPLY else "postpones"
        by_verb[verb].append(f"{address}: {reply_text(reply)}")
    kind = NotSent if by_verb["postpones"] else PermanentError
    parts = [f"{verb} {', '.join(said)}" for verb, said in by_verb.items() if said]
    return kind(f"The mail server {', and '.join(parts)}.")


def mailer() -> Any:
    """Return a connection by the settings of the project, which does not wait for ever."""
    # Django 6.1 has deprecated get_connection().
    connection: Any = mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()
    timeout = getattr(connection, "timeout", TIMEOUT)
    if isinstance(timeout, str):  # the socket would not say which setting is wrong
        said = "The timeout of the mail settings (EMAIL_TIMEOUT) must be a number of seconds"
        raise InvalidSettings(f"{said}, not {timeout!r}.")
    if timeout is None:
        connection.timeout = TIMEOUT
    return connection
