"""How one row changes from status to status, and the guarded write of what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from scheduled_tasks.handlers.retries import NEVER_RETRIED
from scheduled_tasks.lifecycle import aftermath
from scheduled_tasks.lifecycle.aftermath import StatusChange
from scheduled_tasks.lifecycle.suspecting import is_acquitted, is_charged, next_probation
from scheduled_tasks.models.attempt import Attempt, AttemptOutcome
from scheduled_tasks.models.execution import Execution, FirstStart
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.transactions import LostRaceError
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.runs import Ending, Loss, Outcome, fingerprint

DELETED = "The task was deleted."
DISABLED = "The task was disabled."

#: Why a transaction is retried.
MOVED_MEANWHILE = "Another transaction moved an execution meanwhile."
CLAIMED_MEANWHILE = "Another worker claimed an execution meanwhile."
SETTLED_MEANWHILE = "Another transaction resolved an execution meanwhile."

#: What ``apply_ending`` changes.
ENDING_FIELDS = (
    "status",
    "exclusive",
    "run_after",
    "started_at",
    "finished_at",
    "duration_ms",
    "result",
    "reason",
    "failures",
    "losses",
    "error_category",
    "error",
    "traceback",
    "error_fingerprint",
    "peak_memory_mb",
)
#: What ``apply_ending`` changes as well where there are suspects or losses.
SUSPECT_FIELDS = ("probation_seconds", "alone_on")
#: What ``end_unrun`` changes.
GIVING_UP_FIELDS = ("status", "reason", "finished_at", "started_at")


def write(rows: Collection[Execution], fields: Sequence[str], *, before: str, using: str) -> None:
    """Write columns of rows that had the status ``before`` when they were read.

    Each row is guarded by that status, its attempt and its worker. Raise LostRaceError, and so
    retry the transaction, if one of them has changed.
    """
    # By ascending id, as rows are locked everywhere: outside PostgreSQL each is a statement.
    changes = [
        ({name: getattr(row, name) for name in fields}, row.guard | {"status": before})
        for row in sorted(rows, key=lambda row: row.pk)
    ]
    if update_each(Execution, changes, using=using) != len(changes):
        raise LostRaceError(MOVED_MEANWHILE)
    aftermath.executions_moved(changes_of(rows, before), using=using)


def changes_of(rows: Iterable[Execution], before: str) -> list[StatusChange]:
    moved: dict[str, list[Execution]] = {}
    for row in rows:
        moved.setdefault(row.status, []).append(row)
    return [StatusChange(before, after, those) for after, those in moved.items()]


def claimed_values(worker: Worker, now: datetime) -> dict[str, Any]:
    """Return what a claim writes, except what differs from row to row.

    The error of the previous attempt leaves this row; the row of that attempt keeps it.
    """
    return {
        "status": "running",
        "worker": str(worker.pk),
        "worker_label": worker.label,
        "claimed_at": now,
        "reason": "",
        "error_category": "",
        "error": "",
    }


def apply_claim(row: Execution, worker: Worker, now: datetime) -> None:
    """Set on a row what a claim of this worker writes."""
    for name, value in claimed_values(worker, now).items():
        setattr(row, name, value)
    row.begin_awaited = row.awaits_begin
    row.attempt += 1
    row.exclusive = None if row.may_overlap else row.task_id


def apply_ending(row: Execution, ending: Ending, now: datetime) -> Attempt | None:
    """Copy how an attempt ended onto its row; return the attempt if there will be another.

    The caller writes ENDING_FIELDS, and SUSPECT_FIELDS of suspects and losses.
    """
    row.exclusive = None
    planned = row.run_after  # a retry moves it
    match ending:
        case Outcome():
            made = apply_outcome(row, ending, now)
        case Loss():
            made = apply_loss(row, ending, now)
    row.first_start = first_start(made or row, planned) if is_first_start(row) else None
    return made


def is_first_start(row: Execution) -> bool:
    return row.attempt == 1 and row.of_slot


def first_start(ended: Execution | Attempt, planned: datetime) -> FirstStart | None:
    if ended.started_at is None or ended.finished_at is None:
        return None
    return FirstStart(milliseconds(ended.started_at - planned), ended.finished_at)


def apply_outcome(row: Execution, outcome: Outcome, now: datetime) -> Attempt | None:
    row.status = outcome.status
    row.started_at = outcome.started_at
    row.finished_at = outcome.finished_at
    row.duration_ms = outcome.duration_ms
    row.result = outcome.result
    row.reason = outcome.reason
    row.error_category = outcome.error_category
    row.error = outcome.error
    row.traceback = outcome.traceback
    row.error_fingerprint = outcome.error_fingerprint
    row.peak_memory_mb = outcome.peak_memory_mb
    row.alone_on = ""
    if is_acquitted(outcome):
        row.probation_seconds = None
    if row.status != row.Status.FAILED:
        return None
    # What was cancelled is not run again, however it failed.
    task = row.task if row.cancel_requested_at is None else None
    if task and outcome.retry_after is not None:
        return queue_retry(row, now, outcome.retry_after, AttemptOutcome.POSTPONED)
    # Below the postponement, because RetryLater counts no failure.
    row.failures += 1
    if task and outcome.retryable and outcome.error_category not in NEVER_RETRIED:
        wait = task.retry.wait(row.failures, key=f"{row.pk} {row.attempt}")
        if wait is not None:
            return queue_retry(row, now, wait.total_seconds(), AttemptOutcome.FAILED)
    return None


def apply_loss(row: Execution, loss: Loss, now: datetime) -> Attempt | None:
    """Copy that an attempt was lost onto its row."""
    begun = not row.begin_awaited
    charged = loss.charged and begun and is_charged(row)
    row.losses += charged
    if loss.charged and begun:
        row.probation_seconds = next_probation(row.probation_seconds)
    row.alone_on = ""
    if row.cancel_requested_at is None:
        row.reason = ""  # it described an attempt that was still running
    row.error_category, row.error = "lost", loss.reason
    row.error_fingerprint = fingerprint(f"lost {row.handler}")
    row.finished_at = now
    # The process that could tell when the handler was called is gone.
    row.started_at = row.claimed_at or now
    row.duration_ms = milliseconds(row.finished_at - row.started_at)
    task = row.task
    if row.cancel_requested_at is not None:
        row.status, row.error_category, row.error_fingerprint = row.Status.CANCELLED, "", ""
        return None
    if task and not begun:
        return queue_retry(row, now, 0, AttemptOutcome.GIVEN_BACK)
    # A loss that costs nothing is within the budget, whatever losses came before.
    if task and not task.started_once and (not charged or row.losses <= task.max_losses):
        outcome = AttemptOutcome.LOST if loss.charged else AttemptOutcome.GIVEN_BACK
        return queue_retry(row, now, 0, outcome)
    row.status = row.Status.FAILED
    return None


def queue_retry(row: Execution, now: datetime, seconds: float, outcome: str) -> Attempt:
    """Queue a row for its next attempt; return the attempt that has just ended."""
    made = Attempt.of(row, outcome)
    row.status, row.run_after = row.Status.QUEUED, now + timedelta(seconds=seconds)
    # The attempt above has a copy of what is emptied here.
    row.started_at = row.finished_at = row.duration_ms = row.result = row.peak_memory_mb = None
    row.traceback = row.reason = ""  # the fingerprint stays: there may be no other attempt
    return made


def over_before_start(row: Execution, now: datetime) -> tuple[str, str] | None:
    """Return the status and reason with which a due execution ends unrun; None to run it."""
    task = row.task
    if task is None:
        return row.Status.CANCELLED, DELETED
    # What a person asked for runs even if the task is disabled.
    if not row.of_slot:
        return None
    if not task.enabled:
        return row.Status.SKIPPED, DISABLED
    # A retry is never too late, and neither is a run because of its jitter.
    if row.attempt == 0 and task.too_late(now - row.run_after):
        return row.Status.MISSED, task.too_late_reason
    return None


def end_unrun(row: Execution, status: str, reason: str, now: datetime) -> None:
    """End a queued row; one that was tried before and is not cancelled has failed.

    The caller writes GIVING_UP_FIELDS.
    """
    tried = row.attempt > 0 and status != row.Status.CANCELLED
    row.status, row.reason, row.finished_at = status, reason, now
    if tried:
        row.status, row.started_at = row.Status.FAILED, row.claimed_at


def milliseconds(duration: timedelta) -> int:
    # The two moments may come from the clocks of different workers.
    return max(round(duration.total_seconds() * 1000), 0)
