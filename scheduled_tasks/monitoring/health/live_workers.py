"""The schedulers that work now, and what they are able to fire and claim."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import models

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Worker
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import write_alias


def live_workers(now: datetime, *, using: str = "") -> list[Worker]:
    """Return the schedulers that are alive and not stopping, the one that started first first."""
    schedulers = Worker.objects.using(using or write_alias()).schedulers()
    working = schedulers.live(now, within=app_settings.LEASE).filter(state=Worker.State.RUNNING)
    return list(working.order_by("started_at", "pk"))


def up_for(seconds: float, workers: Iterable[Worker], now: datetime) -> list[Worker]:
    """Return those that started at least these seconds ago, so could have done what was due."""
    latest = now - timedelta(seconds=seconds)
    return [worker for worker in workers if worker.started_at <= latest]


def seen_within(seconds: float, now: datetime, *, using: str) -> list[Worker]:
    """Return the schedulers with a heartbeat in these seconds, those that are gone included."""
    since = now - timedelta(seconds=seconds)
    schedulers = Worker.objects.using(using).schedulers()
    return list(schedulers.filter(heartbeat_at__gte=since))


def handlers_of(workers: Iterable[Worker]) -> list[str]:
    """Return the handlers that at least one of these workers knows."""
    return sorted(set().union(*(worker.handlers for worker in workers)))


def claimable_by(workers: Iterable[Worker]) -> models.Q:
    """Return the condition that one of these workers serves the queue and knows the handler."""
    # The replicas of a deployment are alike, so there are few kinds.
    kinds = {(tuple(worker.queues), tuple(worker.handlers)) for worker in workers}
    condition = models.Q(pk__in=[])
    for queues, handlers in sorted(kinds):
        known = models.Q(AnyOf("handler", handlers))
        condition |= known & models.Q(queue__in=queues) if queues else known
    return condition
