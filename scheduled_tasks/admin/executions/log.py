"""The log under an execution's page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models.functions import Left
from django.utils.translation import gettext as _

from scheduled_tasks.admin import display
from scheduled_tasks.models import Attempt, Execution

#: So many lines are shown, and so many characters of each.
LINES, CHARACTERS = 200, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, ready to show; those that say where an attempt begins and ends are ``marks``."""

    time: str
    level: str
    logger: str
    message: str
    mark: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """The last lines of an execution, oldest first, within the beginnings and ends of attempts.

    ``left_out`` says whether there are older ones, ``count`` how many lines were written in all.
    """

    lines: list[Line]
    left_out: bool
    count: int


def log_of(execution: Execution, before: Sequence[Attempt]) -> Log:
    """Return the last lines of an execution's log, of its last attempt and those ``before``."""
    rows = execution.log_lines.defer("message").annotate(beginning=Left("message", CHARACTERS + 1))
    newest = list(rows.order_by("-pk")[: LINES + 1])
    shown = list(reversed(newest[:LINES]))
    left_out = len(newest) > LINES
    first = shown[0].attempt if left_out else 1
    attempts = [*map(Made.of_attempt, before), Made.of_execution(execution)]
    made = {attempt.number: attempt for attempt in attempts if attempt.number >= first}
    said: dict[int, list[Any]] = defaultdict(list)
    for row in shown:
        said[row.attempt].append(row)
    return Log(
        lines=[
            line
            for number in sorted({*made, *said})
            for line in lines_of(made.get(number), said[number])
        ],
        left_out=left_out,
        count=execution.log_count,
    )


def lines_of(made: Made | None, rows: Sequence[Any]) -> Iterator[Line]:
    """Return the lines that an attempt has written, within those that begin and end it."""
    if made is not None:
        yield made.start
    for row in rows:
        yield line(row, row.beginning)
    if made is not None and made.ended is not None:
        yield made.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An attempt, as its log shows it. ``end`` is None while it goes on."""

    number: int
    worker: str
    begun: datetime | None
    ended: datetime | None
    outcome: str
    label: str
    duration_ms: int | None

    @classmethod
    def of_attempt(cls, attempt: Attempt) -> Made:
        """Return what is known of an attempt that another one followed."""
        return cls(
            number=attempt.number,
            worker=attempt.worker_label,
            begun=attempt.started_at or attempt.claimed_at,
            ended=attempt.finished_at,
            outcome=attempt.outcome,
            label=attempt.get_outcome_display(),
            duration_ms=attempt.duration_ms,
        )

    @classmethod
    def of_execution(cls, execution: Execution) -> Made:
        """Return what is known of its last attempt; number 0 where it has not begun."""
        begun = execution.status != Execution.Status.QUEUED
        return cls(
            number=execution.attempt if begun else 0,
            worker=execution.worker_label,
            begun=execution.started_at or execution.claimed_at,
            ended=execution.finished_at,
            outcome=execution.status,
            label=execution.get_status_display(),
            duration_ms=execution.duration_ms,
        )

    @property
    def start(self) -> Line:
        """Return the line that begins it."""
        words = {"number": self.number, "worker": self.worker}
        said = _("attempt %(number)d on %(worker)s") if self.worker else _("attempt %(number)d")
        return mark(self.begun, _("start"), said % words)

    @property
    def end(self) -> Line:
        """Return the line that ends it."""
        words = {"how": self.label, "took": display.duration(self.duration_ms)}
        return mark(self.ended, _("end"), _("%(how)s after %(took)s") % words)


def mark(moment: datetime | None, level: str, message: str) -> Line:
    return Line(time=display.moment(moment), level=level, logger="", message=message, mark=True)


def line(row: Any, message: str) -> Line:
    return Line(
        time=display.moment(row.logged_at),
        level=display.level(row.level),
        logger=row.logger,
        message=message if len(message) <= CHARACTERS else f"{message[:CHARACTERS]} …",
    )
