"""The earlier attempts of an execution, shown below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models.functions import Right

from scheduled_tasks.admin import display
from scheduled_tasks.models import Attempt, Execution

MAX_ATTEMPTS = 50
#: Characters at the end of each traceback that are shown, and of all errors and tracebacks.
MAX_TRACEBACK_LENGTH, MAX_LENGTH = 5_000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt, as the template shows it."""

    number: int
    outcome: str
    claimed: str
    started: str
    finished: str
    duration: str
    worker: str
    category: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierAttempts:
    """The earlier attempts, oldest first: ``rows`` of the database, and ``shown`` as text.

    ``truncated`` is whether there are older ones.
    """

    rows: Sequence[Attempt]
    shown: list[AttemptRow]
    truncated: bool


def attempts_of(execution: Execution) -> EarlierAttempts:
    """Return the attempts of an execution except for the last one."""
    # The exception is at the end. The database cuts, so that long tracebacks are never fetched.
    end = Right("traceback", MAX_TRACEBACK_LENGTH + 1)
    attempts = execution.attempts.defer("traceback").annotate(traceback_end=end)
    newest = list(attempts.order_by("-number")[: MAX_ATTEMPTS + 1])
    rows = list(reversed(newest[:MAX_ATTEMPTS]))
    room = room_for_each(rows)
    return EarlierAttempts(
        rows=rows,
        shown=[attempt_row(attempt, attempt.traceback_end, room) for attempt in rows],
        truncated=len(newest) > MAX_ATTEMPTS,
    )


def room_for_each(rows: Sequence[Attempt]) -> int:
    """Return how many characters of its traceback, and of its error, each attempt may show."""
    return min(MAX_TRACEBACK_LENGTH, MAX_LENGTH // (2 * max(1, len(rows))))


def attempt_row(attempt: Attempt, traceback: str, room: int) -> AttemptRow:
    truncated = len(traceback) > room
    return AttemptRow(
        number=attempt.number,
        outcome=display.badge(attempt.outcome, attempt.get_outcome_display()),
        claimed=display.moment(attempt.claimed_at),
        started=display.moment(attempt.started_at),
        finished=display.moment(attempt.finished_at),
        duration=display.duration(attempt.duration_ms),
        worker=attempt.worker_label or display.EMPTY,
        category=attempt.error_category,
        error=display.truncated(attempt.error, room),
        traceback=f"… {traceback[-room:]}" if truncated else traceback,
    )
