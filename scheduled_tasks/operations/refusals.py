"""The sentences that tell why an execution cannot be cancelled, requeued or resolved."""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution


class Obstacle(enum.Enum):
    """Why an execution cannot be cancelled, requeued or resolved."""

    ASKED_TO_STOP = enum.auto()
    FINISHED = enum.auto()
    UNFINISHED = enum.auto()
    NOT_FAILED = enum.auto()
    RESOLVED = enum.auto()
    TEST_MODE = enum.auto()
    TASK_DELETED = enum.auto()


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
    name = named(row)
    match obstacle:
        case Obstacle.ASKED_TO_STOP:
            return f"{name} was asked to stop at {at(row.cancel_requested_at)}: {row.reason}"
        case Obstacle.FINISHED:
            return f"{name} has already finished ({row.status})."
        case Obstacle.UNFINISHED:
            return f"{name} has not finished yet ({row.status})."
        case Obstacle.NOT_FAILED:
            return f"{name} has not failed ({row.status})."
        case Obstacle.RESOLVED:
            by = f" by {row.resolved_by}" if row.resolved_by else ""
            return f"{name} was resolved{by} at {at(row.resolved_at)}: {row.resolution}"
        case Obstacle.TEST_MODE:
            return (
                f"{name} failed in test mode, so there is nothing to resolve. Run the task again."
            )
        case Obstacle.TASK_DELETED:
            return f"{name} cannot be requeued because its task was deleted. Resolve it instead."


def named(row: Execution) -> str:
    return f"Execution {row.pk} of {row.task_name!r}"


def at(moment: datetime | None) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if moment else "an unknown time"
