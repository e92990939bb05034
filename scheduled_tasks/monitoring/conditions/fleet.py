"""Conditions of the schedulers as a whole, and of the data. A scan reports what is confirmed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from scheduled_tasks.monitoring.alerts.condition_settings import BEHIND_SECONDS, threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.monitoring.health.invariants import scan_invariants
from scheduled_tasks.monitoring.health.lateness import oldest_due
from scheduled_tasks.monitoring.health.live_workers import live_workers, up_for
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.wording import counted


def too_few_workers(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield whether fewer schedulers are alive than there should be."""
    wanted = threshold(Condition.TOO_FEW_WORKERS, "workers") or 1
    if is_on(Condition.TOO_FEW_WORKERS, None):
        alive = len(live_workers(now, using=using))
        if alive < wanted:
            who = f"Only {counted(alive, 'scheduler')} {'is' if alive == 1 else 'are'}"
            yield Finding(
                condition=Condition.TOO_FEW_WORKERS,
                message=f"{who if alive else 'No scheduler is'} alive. There should be {wanted}.",
            )


def scheduler_behind(now: datetime, *, using: str) -> list[Finding] | None:
    """Return whether something is due for too long that a worker was there to do in time.

    None while no worker has been there for long enough to tell.
    """
    behind = threshold(Condition.SCHEDULER_BEHIND, "behind") or BEHIND_SECONDS
    workers = up_for(behind, live_workers(now, using=using), now)
    if not workers:
        return None
    oldest = oldest_due(now, using=using, workers=workers)
    if oldest is None or now - oldest.since <= timedelta(seconds=behind):
        return []
    return [Finding(condition=Condition.SCHEDULER_BEHIND, message=str(oldest))]


def invariants(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield what breaks an invariant."""
    for violation in scan_invariants(now, using=using):
        yield Finding(
            condition=Condition.INVARIANT, subject=violation.key, message=violation.message
        )
