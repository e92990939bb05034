"""Notifications by mail, through Django."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core import mail

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.mistakes import all_mistakes
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.mailing import mails, send_mails
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.notifiers.options import refused, texts
from scheduled_tasks.runtime.recipients import ADDRESSES, are_no_addresses, is_address

SENDER = "an address, or be left out for DEFAULT_FROM_EMAIL"


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
        """Send a mail to each address.

        Raise PermanentError if the server refuses them all, and PartlySent if it refuses some.
        """
        send_mails(self.mails(self.to, notification))

    def send_again(self, notification: Notification, left: Sequence[str]) -> None:
        """Send a mail to each address that is left, unless it is no option any more."""
        to = [address for address in self.to if address in left]
        send_mails(self.mails(to, notification), others_have_it=True)

    def mails(self, to: Sequence[str], notification: Notification) -> list[mail.EmailMessage]:
        return mails(to, notification, sender=self.from_email, prefix=self.subject_prefix)

    def __str__(self) -> str:
        """Return the addresses."""
        return ", ".join(self.to)


def addresses(to: Any) -> list[str]:
    """Return the addresses of the option. Raise InvalidSettings with those that are none."""
    found = texts("to", to, ADDRESSES)
    if invalid := [text for text in found if not is_address(text)]:
        raise InvalidSettings(
            f"the option 'to' must be {ADDRESSES}; {', '.join(map(repr, invalid))} "
            f"{are_no_addresses(invalid)}."
        )
    return list(dict.fromkeys(found))
