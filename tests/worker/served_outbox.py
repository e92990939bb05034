"""The outbox as one worker serves it, with a receiver that stands for all and a clock by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from scheduled_tasks.conf import AppSettings
from scheduled_tasks.models import Delivery, Worker
from scheduled_tasks.monitoring.outbox.claims import Room, claim_deliveries
from scheduled_tasks.worker.deliveries import MAX_CLAIMED, MAX_PER_LANE, Deliveries
from tests.support.processes import LONG

SECOND = timedelta(seconds=1)
LEASE = AppSettings().LEASE


class Receiver:
    """Stands for all receivers: what it was sent, and what it answers by target."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.raises: dict[str, BaseException] = {}
        self.hangs: dict[str, threading.Event] = {}

    def send(self, delivery: Delivery) -> None:
        if delivery.target in self.hangs:
            assert self.hangs[delivery.target].wait(LONG)
        self.sent.append(f"{delivery.event} {delivery.target}")
        if error := self.raises.get(delivery.target):
            raise error


class Server:
    """A worker that serves the outbox, with a clock that the test moves."""

    def __init__(self, worker: Worker) -> None:
        self.time = 0.0
        self.results = threading.Semaphore(0)
        self.served = Deliveries(
            worker, on_result=self.results.release, monotonic=lambda: self.time
        )

    def send(self, now: datetime, count: int) -> None:
        """Serve, and record ``count`` results when they are there."""
        self.served.run(now)
        for _ in range(count):
            assert self.results.acquire(timeout=LONG)
        self.served.record(now)


Add = Callable[..., Delivery]


def claim(worker: str, now: datetime) -> list[Delivery]:
    """Claim what a worker would claim that holds nothing yet."""
    return claim_deliveries(worker, now, Room(total=MAX_CLAIMED, per_lane=MAX_PER_LANE)).rows


def state(target: str) -> list[tuple[bool, bool, int, str]]:
    """Return of the messages to a target whether they are finished, delivered, tries and error."""
    rows = Delivery.objects.filter(target=target).order_by("pk")
    return [(bool(row.finished_at), row.delivered, row.attempts, row.error) for row in rows]


def held(worker: Worker) -> list[str]:
    """Return the lanes of what a worker has claimed."""
    rows = Delivery.objects.pending().filter(claimed_by=str(worker.pk))
    return list(rows.exclude(claimed_until=None).order_by("pk").values_list("lane", flat=True))


def lose(number: int, now: datetime) -> datetime:
    """Let so many workers die, each while it sends what it can claim; return when."""
    for turn in range(number):
        claim(f"dead {turn}", now)
        now += LEASE * SECOND
    return now
