"""What waits in the outbox, and a worker that sends it."""

from __future__ import annotations

from datetime import datetime, timedelta

from scheduled_tasks.models import Delivery
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.processes import LONG


def tick(worker: Scheduler, now: datetime) -> None:
    """Let a worker do what is due, and send all that is due a moment later."""
    worker.tick(now)
    send_all(worker, now + timedelta(minutes=1))


def send_all(worker: Scheduler, now: datetime) -> None:
    """Let a worker send until nothing more is due."""
    deliveries = worker.engine.monitor.deliveries
    deliveries.run(now)
    while deliveries.busy:
        for lane in list(deliveries._lanes.values()):
            lane.thread.join(LONG)
            assert not lane.thread.is_alive()
        deliveries.run(now)


def events() -> list[str]:
    """Return the events that wait in the outbox, in order."""
    return list(Delivery.objects.pending().order_by("pk").values_list("event", flat=True))
