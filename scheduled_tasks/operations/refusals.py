"""The sentences that tell why executions cannot be cancelled, requeued or resolved."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from django.utils.translation import ngettext_lazy

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise as StrPromise

    from scheduled_tasks.models.execution import Execution


class Obstacle(enum.Enum):
    """Why an execution cannot be cancelled, requeued or resolved.

    Each member has the sentence about one execution, which ``sentence`` fills in, and the one that
    reports the count: ``counted % 2``.
    """

    ASKED_TO_STOP = (
        "{name} was asked to stop at {asked_at}: {reason}",
        ngettext_lazy("%d had already been asked to stop.", "%d had already been asked to stop."),
    )
    FINISHED = (
        "{name} has already finished ({status}).",
        ngettext_lazy("%d had already finished.", "%d had already finished."),
    )
    UNFINISHED = (
        "{name} has not finished yet ({status}).",
        ngettext_lazy("%d has not finished.", "%d have not finished."),
    )
    NOT_FAILED = (
        "{name} has not failed ({status}).",
        ngettext_lazy("%d has not failed.", "%d have not failed."),
    )
    RESOLVED = (
        "{name} was resolved{by} at {resolved_at}: {resolution}",
        ngettext_lazy(
            "%d had already been resolved or requeued.", "%d had already been resolved or requeued."
        ),
    )
    TEST_MODE = (
        "{name} failed in test mode, so there is nothing to resolve. Run the task again.",
        ngettext_lazy(
            "%d failed in test mode, so there is nothing to resolve.",
            "%d failed in test mode, so there is nothing to resolve.",
        ),
    )
    TASK_DELETED = (
        "{name} cannot be requeued because its task was deleted. Resolve it instead.",
        ngettext_lazy(
            "%d cannot be requeued because its task was deleted. Resolve it instead.",
            "%d cannot be requeued because their tasks were deleted. Resolve them instead.",
        ),
    )

    def __init__(self, about_one: str, counted: StrPromise) -> None:
        self.about_one = about_one
        self.counted = counted


def obstacle_to_cancelling(row: Execution) -> Obstacle:
    """Return why an execution could not be cancelled."""
    return Obstacle.FINISHED if row.finished else Obstacle.ASKED_TO_STOP


def obstacle_to_settling(row: Execution) -> Obstacle:
    """Return why an execution could not be requeued or resolved."""
    if row.resolved_at is not None:
        return Obstacle.RESOLVED
    if not row.finished:
        return Obstacle.UNFINISHED
    if row.status != row.Status.FAILED:
        return Obstacle.NOT_FAILED
    return Obstacle.TEST_MODE if row.test_mode else Obstacle.TASK_DELETED


def why_not_cancelled(row: Execution) -> str:
    """Return the sentence that tells why an execution could not be cancelled."""
    return sentence(row, obstacle_to_cancelling(row))


def why_not_settled(row: Execution) -> str:
    """Return the sentence that tells why an execution could not be requeued or resolved."""
    return sentence(row, obstacle_to_settling(row))


def sentence(row: Execution, obstacle: Obstacle) -> str:
    return obstacle.about_one.format(
        name=f"Execution {row.pk} of {row.task_name!r}",
        status=row.status,
        reason=row.reason,
        asked_at=at(row.cancel_requested_at),
        by=f" by {row.resolved_by}" if row.resolved_by else "",
        resolved_at=at(row.resolved_at),
        resolution=row.resolution,
    )


def at(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"
