"""Reap: lost workers are given up, and their executions are taken back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from scheduled_tasks.lifecycle import alerting
from scheduled_tasks.lifecycle.ending import give_back
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.transactions import transactional
from scheduled_tasks.models.worker import Worker


@transactional
def mark_lost(
    beats: Mapping[uuid.UUID, datetime], now: datetime, *, using: str = ""
) -> list[Worker]:
    """Mark workers as lost if their heartbeat has not changed; return them."""
    workers = Worker.objects.using(using)
    # One by one, because each is guarded by its own heartbeat.
    lost = [
        worker
        for worker in workers.filter(pk__in=list(beats)).exclude(state__in=Worker.GONE)
        if workers.filter(pk=worker.pk, heartbeat_at=beats[worker.pk]).update(
            state=Worker.State.LOST
        )
    ]
    alerting.workers_lost(lost, now, using=using)
    return lost


def reap(now: datetime) -> list[Execution]:
    """Take back the executions of workers that are gone or have no row; return them."""
    # The holders are read first: a worker that starts in between must not be taken for one that
    # has no row.
    running = Execution.objects.on_primary().running().order_by()
    holders = set(running.values_list("worker", flat=True).distinct())
    here = Worker.objects.on_primary().exclude(state__in=Worker.GONE)
    gone = holders.difference(map(str, here.values_list("pk", flat=True)))
    if not gone:
        return []
    return give_back(gone, now, reason="The worker was lost.", charged=True)
