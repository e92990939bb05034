"""Checks what runs report, in one place, before it is believed: kinds and bounds of every field.

A run may have replaced any clock or function of its process, and it shares a socket with its fork
server. What has the right kind is brought within its bounds; anything else is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, get_args, get_type_hints

from scheduled_tasks.exceptions import RetryLater
from scheduled_tasks.runtime.messages import Counts, LogLine, Message, Progress
from scheduled_tasks.runtime.runs import Outcome
from scheduled_tasks.runtime.statuses import HANDLER_STATUSES

#: The largest numbers that the columns for counts and levels hold on every database.
MAX_COUNT, MAX_LEVEL = 2**63 - 1, 2**15 - 1
#: The largest progress: a float holds every whole number up to here, and pages calculate with it.
MAX_PROGRESS = 2**53
#: The longest run that is believed: a century.
MAX_DURATION_MS = 100 * 366 * 86_400_000
#: The earliest and the latest moment: every database stores them, and every time zone shows them.
MIN_MOMENT, MAX_MOMENT = datetime(1970, 1, 2, tzinfo=UTC), datetime(2900, 1, 1, tzinfo=UTC)
#: How far the moments that a run reports may lie outside the time that its worker has measured.
MAX_CLOCK_ERROR = timedelta(hours=1)
MAX_MEMORY_MB = 2**31 - 1
MAX_RETRY_AFTER_SECONDS = RetryLater.MAX_DELAY.total_seconds()
#: The lengths of columns for short texts.
MAX_LENGTHS = {"error_category": 20, "error_fingerprint": 32}
#: No text of a run is quoted at more than this length.
MAX_QUOTED_LENGTH = 100

Report = TypeVar("Report", bound=Message | Outcome)


class InvalidReportError(ValueError):
    """A run has reported what no run reports. The text names the field and its value."""


def checked_message(message: Message) -> Message:
    """Return a message of a run with its numbers within their bounds.

    Raise InvalidReportError for a field of the wrong kind.
    """
    check_kinds(message)
    match message:
        case LogLine(logged_at=at, level=level):
            at = at if MIN_MOMENT <= at <= MAX_MOMENT else datetime.now(UTC)
            return replace(message, logged_at=at, level=bounded(level, MAX_LEVEL))
        case Progress(done=done, total=total):
            return replace(message, done=progress(done) or 0, total=progress(total))
        case Counts(processed=processed, errors=errors):
            return replace(
                message,
                processed=bounded(processed, MAX_COUNT),
                errors=bounded(errors, MAX_COUNT),
            )
    return message


def checked_outcome(outcome: Outcome, *, earliest: datetime, now: datetime) -> Outcome:
    """Return the outcome of a run whose worker held it from ``earliest`` to ``now``.

    Times outside of that, by more than MAX_CLOCK_ERROR, are replaced by the worker's. Raise
    InvalidReportError for any other field of the wrong kind or out of its bounds.
    """
    check_kinds(outcome)
    require(outcome.status in HANDLER_STATUSES, "status", outcome.status)
    for name, limit in MAX_LENGTHS.items():
        require(len(getattr(outcome, name)) <= limit, name, getattr(outcome, name))
    delay = outcome.retry_after
    require(delay is None or 0 <= delay <= MAX_RETRY_AFTER_SECONDS, "retry_after", delay)
    peak = outcome.peak_memory_mb
    require(peak is None or 0 <= peak <= MAX_MEMORY_MB, "peak_memory_mb", peak)
    return with_possible_times(outcome, earliest, now)


def with_possible_times(outcome: Outcome, earliest: datetime, now: datetime) -> Outcome:
    begun, ended = outcome.started_at, outcome.finished_at
    if not earliest - MAX_CLOCK_ERROR <= begun <= ended <= now + MAX_CLOCK_ERROR:
        begun, ended = earliest, max(earliest, now)
    longest = min((ended - begun + MAX_CLOCK_ERROR).total_seconds() * 1000, MAX_DURATION_MS)
    took = outcome.duration_ms
    if not 0 <= took <= longest:
        took = round((ended - begun).total_seconds() * 1000)
    return replace(outcome, started_at=begun, finished_at=ended, duration_ms=took)


def check_kinds(report: Message | Outcome) -> None:
    """Raise InvalidReportError if a field has not the kind that its annotation says."""
    for name, kinds in KINDS[type(report)].items():
        value = getattr(report, name)
        # A bool is an int for Python, but no number that a run reports.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            refuse(name, value)
        if isinstance(value, datetime) and value.tzinfo is None:
            refuse(name, value)


def kinds_of(report: type[Any]) -> Mapping[str, tuple[type, ...]]:
    """Return the classes of the fields of a report; those that may hold anything are left out."""
    hints = get_type_hints(report)
    kinds = {
        field.name: get_args(hints[field.name]) or (hints[field.name],) for field in fields(report)
    }
    return {name: with_int(each) for name, each in kinds.items() if Any not in each}


def with_int(kinds: tuple[type, ...]) -> tuple[type, ...]:
    return (*kinds, int) if float in kinds else kinds


#: The classes of the fields of everything that a run reports.
KINDS = {kind: kinds_of(kind) for kind in (*get_args(Message), Outcome)}


def progress(amount: float | None) -> float | None:
    """Return a number of a progress that can be calculated with, None if it is none."""
    # Not math.isfinite(), which refuses a whole number that is too large for a float.
    if amount is None or not -math.inf < amount < math.inf:
        return None
    return min(max(amount, -MAX_PROGRESS), MAX_PROGRESS)


def bounded(number: int, maximum: int) -> int:
    return min(max(number, 0), maximum)


def require(condition: bool, name: str, value: object) -> None:  # noqa: FBT001
    if not condition:
        refuse(name, value)


def refuse(name: str, value: object) -> None:
    raise InvalidReportError(f"{name} is {quoted(value)}")


def quoted(value: object) -> str:
    """Return a short text that shows a value from a run, however large it is."""
    match value:
        case str():
            return repr(value[:MAX_QUOTED_LENGTH])
        case bool() | float() | None:
            return repr(value)
        case int():
            return repr(value) if abs(value) < MAX_COUNT else "a huge number"
    return f"of the kind {type(value).__name__}"
