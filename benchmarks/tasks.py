"""What scheduled-tasks runs in the benchmarks: handlers, and a notifier."""

from __future__ import annotations

import logging
import time

from benchmarks import marks
from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.monitoring.notifiers import Notification

logger = logging.getLogger(__name__)


@scheduled_task
def mark(*, due: float) -> None:
    """Leave a mark and do nothing else."""
    marks.leave(due)


@scheduled_task
def mark_slot(context: TaskContext) -> None:
    """Leave a mark for a slot, of a task that has many."""
    marks.leave(context.scheduled_for.timestamp())


@scheduled_task
def fail() -> None:
    """Fail at once."""
    raise RuntimeError("it always fails")


@scheduled_task
def talk(*, lines: int, length: int = 0) -> None:
    """Log lines, of at least ``length`` characters, and leave a mark of when it began and ended."""
    begun = time.time()
    filling = "word " * (length // 5)
    for number in range(lines):
        logger.info("line %d of the many that this run has to say%s", number, filling)
    marks.leave(begun)


def told(notification: Notification) -> None:
    """Leave a mark for an alert that has arrived."""
    marks.leave(notification.raised_at.timestamp())
