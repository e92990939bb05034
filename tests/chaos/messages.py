"""What people were told: each message is a line of a file, written by the worker that sends it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from scheduled_tasks.monitoring.notifiers import Notification
from tests.chaos.journal import FOLDER, WORKER

MESSAGES = "messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """That an alert was ``raised`` or ``cleared``, when by the journal's clock, and by whom."""

    alert: str
    event: str
    worker: str
    at: float


def receive(notification: Notification) -> None:
    """Append a line, whole."""
    message = Message(
        alert=notification.id,
        event=notification.event,
        worker=os.environ[WORKER],
        at=time.time(),
    )
    with (Path(os.environ[FOLDER]) / MESSAGES).open("ab", buffering=0) as file:
        file.write(json.dumps(asdict(message)).encode() + b"\n")


def messages(folder: Path) -> list[Message]:
    """Return all messages, in the order in which they arrived."""
    file = folder / MESSAGES
    lines = file.read_text().splitlines() if file.exists() else []
    return [Message(**json.loads(line)) for line in lines]
