"""The log lines of attempts that begin and end, worded in one place."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from scheduled_tasks.runtime.runs import Run

if TYPE_CHECKING:
    from scheduled_tasks.models import Execution

logger = logging.getLogger("scheduled_tasks.executions")


def announce_start(run: Run) -> None:
    """Log that an attempt is handed to its executor."""
    log(logging.INFO, "start task=%s execution=%s attempt=%s", *name_of(run))


def announce_end(execution: Execution) -> None:
    """Log that an execution has ended or was queued again; call it once that is committed."""
    if not execution.finished:
        log(
            logging.WARNING,
            "queued again task=%s execution=%s attempt=%s: %s%s",
            *name_of(execution),
            execution.error,
            " It runs apart next time." if execution.is_suspect else "",
        )
        return
    if execution.status == execution.Status.FAILED:
        level, details = logging.ERROR, f"\n{execution.traceback or execution.error}"
    else:
        level, details = logging.INFO, ""
    log(
        level,
        "%s task=%s execution=%s attempt=%s duration_ms=%s%s",
        execution.status,
        *name_of(execution),
        execution.duration_ms,
        details,
    )


def announce_dropped_end(execution_id: int, attempt: int) -> None:
    """Log that an end was not written because another worker has the execution by now."""
    log(
        logging.WARNING,
        "dropped the end of execution=%s attempt=%s: it was taken from this worker",
        execution_id,
        attempt,
    )


def log(level: int, message: str, *arguments: object) -> None:
    # An exception from a log handler of the project must not end the loop.
    with suppress(Exception):
        logger.log(level, message, *arguments)


def name_of(attempt: Run | Execution) -> tuple[str, int, int]:
    number = attempt.execution_id if isinstance(attempt, Run) else attempt.pk
    return attempt.task_name, number, attempt.attempt
