"""The base of notifiers, also of a project's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from scheduled_tasks.monitoring.notifiers.notification import Notification


class Notifier(ABC):
    """Sends notifications to one place, such as an address or a chat.

    The keyword-only arguments of ``__init__`` are the ``OPTIONS`` of the setting. It raises
    InvalidSettings for wrong options, with a sentence for each that names the option and says what
    to write; what loads notifiers adds the name of the notifier. It makes no connection.

    One notifier is made per process, and threads share it, so ``send`` keeps nothing in it.
    """

    @abstractmethod
    def send(self, notification: Notification) -> None:
        """Send it, and return when it has arrived.

        Raise PermanentError if another attempt cannot help, PartlySent if some receivers have it
        and others have not, and anything else to be tried again later. Set a timeout for whatever
        it waits for. The text of the error is shown to people, without secrets that are recognized
        as such: better name none.
        """

    def send_again(self, notification: Notification, left: Sequence[str]) -> None:
        """Send it to the receivers that a PartlySent has left; here that is everyone."""
        self.send(notification)

    def __str__(self) -> str:
        """Return where it sends to, for people and without secrets."""
        return type(self).__name__
