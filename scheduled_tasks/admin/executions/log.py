"""The log of an execution, shown below it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any

from django.db.models.functions import Left
from django.utils.translation import gettext as _

from scheduled_tasks.admin import display
from scheduled_tasks.models import Attempt, Execution

MAX_LINES = 200
MAX_LINE_LENGTH = 10_000
#: Characters of all lines together.
MAX_LENGTH = 40_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayedLine:
    """One line, as the template shows it. A ``mark`` is the start or the end of an attempt."""

    time: str
    level: str
    logger: str
    message: str
    mark: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The last lines of the log, oldest first, with marks for the attempts.

    ``truncated`` is whether there are older lines, ``count`` the number of all lines.
    """

    lines: list[DisplayedLine]
    truncated: bool
    count: int


def log_of(execution: Execution, earlier: Sequence[Attempt]) -> Log:
    """Return the end of an execution's log, given its ``earlier`` attempts."""
    # The database cuts, so that long lines are never fetched.
    beginning = Left("message", MAX_LINE_LENGTH + 1)
    rows = execution.log_lines.defer("message").annotate(short_message=beginning)
    newest = list(rows.order_by("-pk")[: MAX_LINES + 1])
    shown = list(reversed(newest[: fitting(newest[:MAX_LINES])]))
    truncated = len(newest) > len(shown)
    # Attempts whose lines are all left out get no marks.
    first = shown[0].attempt if truncated else 1
    every = [*map(LoggedAttempt.of_attempt, earlier), LoggedAttempt.of_execution(execution)]
    attempts = {attempt.number: attempt for attempt in every if attempt.number >= first}
    rows_by_attempt: dict[int, list[Any]] = defaultdict(list)
    for row in shown:
        rows_by_attempt[row.attempt].append(row)
    return Log(
        lines=[
            line
            for number in sorted({*attempts, *rows_by_attempt})
            for line in lines_of(attempts.get(number), rows_by_attempt[number])
        ],
        truncated=truncated,
        count=execution.log_count,
    )


def fitting(newest: Sequence[Any]) -> int:
    """Return how many of the newest lines have MAX_LENGTH characters together, at least one."""
    lengths = accumulate(len(row.short_message) + len(row.logger) for row in newest)
    return max(1, sum(length <= MAX_LENGTH for length in lengths))


def lines_of(attempt: LoggedAttempt | None, rows: Sequence[Any]) -> Iterator[DisplayedLine]:
    """Yield the lines of one attempt, between the marks for its start and its end."""
    if attempt is not None:
        yield attempt.start
    for row in rows:
        yield log_line(row, row.short_message)
    if attempt is not None and attempt.finished_at is not None:
        yield attempt.end


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAttempt:
    """An attempt as its log shows it. ``finished_at`` is None while it is running."""

    number: int
    worker: str
    started_at: datetime | None
    finished_at: datetime | None
    label: str
    duration_ms: int | None

    @classmethod
    def of_attempt(cls, attempt: Attempt) -> LoggedAttempt:
        return cls(
            number=attempt.number,
            worker=attempt.worker_label,
            started_at=attempt.started_at or attempt.claimed_at,
            finished_at=attempt.finished_at,
            label=attempt.get_outcome_display(),
            duration_ms=attempt.duration_ms,
        )

    @classmethod
    def of_execution(cls, execution: Execution) -> LoggedAttempt:
        """Return the last attempt, with the number 0 if it has not started."""
        has_started = execution.status != Execution.Status.QUEUED
        return cls(
            number=execution.attempt if has_started else 0,
            worker=execution.worker_label,
            started_at=execution.started_at or execution.claimed_at,
            finished_at=execution.finished_at,
            label=execution.get_status_display(),
            duration_ms=execution.duration_ms,
        )

    @property
    def start(self) -> DisplayedLine:
        text = _("attempt %(number)d on %(worker)s") if self.worker else _("attempt %(number)d")
        return mark(
            self.started_at, _("start"), text % {"number": self.number, "worker": self.worker}
        )

    @property
    def end(self) -> DisplayedLine:
        duration = display.duration(self.duration_ms)
        text = _("%(outcome)s after %(duration)s")
        return mark(
            self.finished_at, _("end"), text % {"outcome": self.label, "duration": duration}
        )


def mark(moment: datetime | None, level: str, message: str) -> DisplayedLine:
    return DisplayedLine(
        time=display.moment(moment), level=level, logger="", message=message, mark=True
    )


def log_line(row: Any, message: str) -> DisplayedLine:
    truncated = len(message) > MAX_LINE_LENGTH
    return DisplayedLine(
        time=display.moment(row.logged_at),
        level=display.log_level(row.level),
        logger=row.logger,
        message=f"{message[:MAX_LINE_LENGTH]} …" if truncated else message,
    )
