"""A recorder that a test holds in place of an executor's."""

from __future__ import annotations

from scheduled_tasks.exceptions import LeaseLost
from scheduled_tasks.runtime.messages import LogLine, Message


class FakeRecorder:
    """Hears what a run says; refuses it, if told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.confirmed: list[Message] = []
        self.refuses = False

    def send(self, message: Message) -> None:
        """Hear a message."""
        if self.refuses:
            raise LeaseLost
        self.sent.append(message)

    def confirm(self, message: Message) -> None:
        """Hear a message that is waited for."""
        self.send(message)
        self.confirmed.append(self.sent.pop())

    @property
    def lines(self) -> list[LogLine]:
        """Return the lines of the log among what was heard."""
        return [message for message in self.sent if isinstance(message, LogLine)]

    @property
    def texts(self) -> list[str]:
        """Return what the lines say."""
        return [line.message for line in self.lines]
