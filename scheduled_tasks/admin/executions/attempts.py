"""The attempts of an execution before its last one, under its page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models.functions import Right

from scheduled_tasks.admin import display
from scheduled_tasks.models import Attempt, Execution

#: So many attempts are shown, and so many characters of the end of each traceback.
SHOWN, CHARACTERS = 50, 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One attempt, ready to show."""

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
class Attempts:
    """The latest of the attempts that another one followed, oldest first, and as rows to show.

    ``left_out`` says whether there are older ones.
    """

    made: Sequence[Attempt]
    rows: list[Row]
    left_out: bool


def attempts_of(execution: Execution) -> Attempts:
    """Return the attempts of an execution before its last one."""
    rows = execution.attempts.defer("traceback").annotate(end=Right("traceback", CHARACTERS + 1))
    newest = list(rows.order_by("-number")[: SHOWN + 1])
    made = list(reversed(newest[:SHOWN]))
    return Attempts(
        made=made,
        rows=[row(attempt, attempt.end) for attempt in made],
        left_out=len(newest) > SHOWN,
    )


def row(attempt: Attempt, traceback: str) -> Row:
    cut = len(traceback) > CHARACTERS
    return Row(
        number=attempt.number,
        outcome=display.badge(attempt.outcome, attempt.get_outcome_display()),
        claimed=display.moment(attempt.claimed_at),
        started=display.moment(attempt.started_at),
        finished=display.moment(attempt.finished_at),
        duration=display.duration(attempt.duration_ms),
        worker=attempt.worker_label or display.EMPTY,
        category=attempt.error_category,
        error=attempt.error,
        traceback=f"… {traceback[-CHARACTERS:]}" if cut else traceback,
    )
