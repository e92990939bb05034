"""The log under an execution's page."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models.functions import Left

from scheduled_tasks.admin import display
from scheduled_tasks.models import Execution, ExecutionLog

#: So many lines are shown, and so many characters of each.
LINES, CHARACTERS = 200, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, ready to show."""

    time: str
    level: str
    attempt: int
    logger: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The last lines of an execution, oldest first.

    ``left_out`` says whether there are older ones, ``repeated`` whether there was more than one
    attempt.
    """

    lines: list[Line]
    left_out: bool
    repeated: bool


def log_of(execution: Execution) -> Log:
    """Return the last lines of an execution's log."""
    rows = execution.log_lines.defer("message").annotate(beginning=Left("message", CHARACTERS + 1))
    newest = list(rows.order_by("-pk")[: LINES + 1])
    return Log(
        lines=[line(row, row.beginning) for row in reversed(newest[:LINES])],
        left_out=len(newest) > LINES,
        repeated=execution.attempt > 1,
    )


def line(row: ExecutionLog, message: str) -> Line:
    return Line(
        time=display.moment(row.logged_at),
        level=display.level(row.level),
        attempt=row.attempt,
        logger=row.logger,
        message=message if len(message) <= CHARACTERS else f"{message[:CHARACTERS]} …",
    )
