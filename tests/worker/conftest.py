"""Fixtures for tests of the outbox as a worker serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.worker import lanes
from tests.worker.served_outbox import Receiver, Server


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Send all messages to a receiver of the test."""
    receiver = Receiver()
    monkeypatch.setattr(lanes, "send", receiver.send)
    monkeypatch.setattr(lanes, "monotonic", lambda: 0.0)
    yield receiver
    for hanging in receiver.hangs.values():
        hanging.set()


@pytest.fixture
def server(worker: Worker, receiver: Receiver) -> Server:
    """Return a worker that serves the outbox."""
    return Server(worker)


@pytest.fixture
def add(now: datetime) -> Callable[..., Delivery]:
    """Return a maker of messages that are due."""

    def make(target: str, event: str = "raised", **fields: Any) -> Delivery:
        given = {
            "transport": "notifier",
            "sequence": target,
            "lane": target,
            "created_at": now,
            "due_at": now,
            **fields,
        }
        return Delivery.objects.create(event=event, target=target, **given)

    return make
