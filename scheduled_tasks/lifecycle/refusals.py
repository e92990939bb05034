"""The sentences that tell why an execution cannot be cancelled, requeued or resolved."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution

#: Why a transaction is retried.
CLAIMED_MEANWHILE = "Another worker claimed an execution meanwhile."
SETTLED_MEANWHILE = "Another transaction resolved an execution meanwhile."


def why_not_cancelled(row: Execution) -> str:
    """Return why an execution could not be cancelled."""
    if not row.finished:
        return f"{named(row)} was asked to stop at {at(row.cancel_requested_at)}: {row.reason}"
    return f"{named(row)} has already finished ({row.status})."


def why_not_settled(row: Execution) -> str:
    """Return why an execution could not be requeued or resolved."""
    name = named(row)
    if row.resolved_at is not None:
        by = f" by {row.resolved_by}" if row.resolved_by else ""
        return f"{name} was resolved{by} at {at(row.resolved_at)}: {row.resolution}"
    if not row.finished:
        return f"{name} has not finished yet ({row.status})."
    if row.status != row.Status.FAILED:
        return f"{name} has not failed ({row.status})."
    if row.test_mode:
        return f"{name} failed in test mode, so there is nothing to resolve. Run the task again."
    return f"{name} cannot be requeued because its task was deleted. Resolve it instead."


def named(row: Execution) -> str:
    return f"Execution {row.pk} of {row.task_name!r}"


def at(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"
