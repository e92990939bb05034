"""Attempts made without an executor: who claims, and how it ends, as a test says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from scheduled_tasks.lifecycle import claiming, recording
from scheduled_tasks.models import Execution, Worker
from scheduled_tasks.runtime.runs import Loss, Outcome

#: The handler that the fixture ``nothing`` registers.
NOTHING = "jobs.nothing"


def make_worker(label: str, now: datetime) -> Worker:
    return Worker.objects.create(
        label=label, host="h", pid=1, started_at=now, heartbeat_at=now, handlers=[NOTHING]
    )


def claim(worker: Worker, now: datetime) -> Execution:
    """Claim the one execution that waits."""
    [claimed] = claiming.claim(worker, now, limit=1, handlers=[NOTHING]).rows
    return claimed


def begin(worker: Worker, now: datetime) -> Execution:
    """Claim the one execution that waits; its begin is on record where that is awaited."""
    claimed = claim(worker, now)
    recording.record_begin((claimed.pk, claimed.attempt))
    return claimed


def outcome(execution: Execution, now: datetime, status: str = "success", **fields: Any) -> Outcome:
    return Outcome(
        execution_id=execution.pk,
        attempt=execution.attempt,
        status=status,
        started_at=now,
        finished_at=now,
        duration_ms=1,
        **fields,
    )


def loss(execution: Execution, *, charged: bool = True) -> Loss:
    return Loss(
        execution_id=execution.pk,
        attempt=execution.attempt,
        reason="It was killed.",
        charged=charged,
    )
