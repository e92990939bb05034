"""What the log and the project are told when attempts begin and end."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.runtime.runs import Run
from scheduled_tasks.signals import execution_finished

if TYPE_CHECKING:
    from scheduled_tasks.models import Execution

logger = logging.getLogger("scheduled_tasks.executions")


def announce_start(run: Run) -> None:
    """Say that an attempt is handed to its executor."""
    log(logging.INFO, "start task=%s execution=%s attempt=%s", *name_of(run))


def announce_end(execution: Execution) -> None:
    """Say that an execution has ended, or was queued again, once that is committed."""
    if not execution.finished:
        log(
            logging.WARNING,
            "queued again task=%s execution=%s attempt=%s: %s",
            *name_of(execution),
            execution.error,
        )
        return
    if execution.status == execution.Status.FAILED:
        level, said = logging.ERROR, f"\n{execution.traceback or execution.error}"
    else:
        level, said = logging.INFO, ""
    log(
        level,
        "%s task=%s execution=%s attempt=%s duration_ms=%s%s",
        execution.status,
        *name_of(execution),
        execution.duration_ms,
        said,
    )
    handler = registry.get(execution.handler)
    execution_finished.send_robust(sender=handler.function, execution=execution)


def announce_dropped_end(execution_id: int, attempt: int) -> None:
    """Say that an end was not written because the execution is somebody else's by now."""
    log(
        logging.WARNING,
        "dropped the end of execution=%s attempt=%s: it was taken from this worker",
        execution_id,
        attempt,
    )


def log(level: int, text: str, *words: object) -> None:
    """Log a line. What a handler of the project's raises must not keep others from running."""
    with suppress(Exception):
        logger.log(level, text, *words)


def name_of(attempt: Run | Execution) -> tuple[str, int, int]:
    number = attempt.execution_id if isinstance(attempt, Run) else attempt.pk
    return attempt.task_name, number, attempt.attempt
