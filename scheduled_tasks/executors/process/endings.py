"""What became of a run, from what the fork server says of its process."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from signal import SIGKILL
from typing import Any

from scheduled_tasks.exceptions import RetryLater
from scheduled_tasks.executors.endings import (
    WORKER_STOPPED,
    ProcessExit,
    cancelled,
    failed,
    ignored_timeout_reason,
    lost,
    timeout_reason,
)
from scheduled_tasks.executors.process.wire import Frame, unpacked
from scheduled_tasks.runtime.runs import Ending, Outcome, Run

#: The longest time, in seconds, after which a handler may ask to be run again.
MAX_RETRY_AFTER = RetryLater.MAX_DELAY.total_seconds()
#: The statuses with which a handler can end.
ENDINGS_OF_RUNS = ("success", "partial", "skipped", "failed", "cancelled")


def ending_of(run: Run, frame: Frame, started_at: datetime, finished_at: datetime) -> Ending:
    """Return what became of a run, from what the fork server says of its process."""
    outcome = outcome_in(frame)
    facts: dict[str, Any] = {
        "started_at": started_at,
        "finished_at": finished_at,
        "peak_memory_mb": frame.get("peak_mb"),
        "traceback": frame.get("trace", ""),
    }
    if outcome is not None and (outcome.status != "failed" or frame["stopped"] != "abandoned"):
        return own_ending(run, frame, outcome)
    match frame["stopped"]:
        case "cancelled":
            return cancelled(run, frame["reason"], **facts)
        case "abandoned":
            return lost(run, WORKER_STOPPED, charged=False)
        case "lease" | "refused":
            return lost(run, "Its worker could not renew its lease in time.", charged=True)
    return failed(run, *failure_of_process(run, frame), **facts)


def failure_of_process(run: Run, frame: Frame) -> tuple[str, str]:
    """Return the category and the reason of a run whose process ended without a word of it."""
    match frame["stopped"]:
        case "timeout" if frame.get("signal") != SIGKILL:
            return "timeout", f"{timeout_reason(run)} Its process {exit_of(frame)}."
        case "timeout":
            return "timeout", f"{ignored_timeout_reason(run)} and was killed."
        case "memory":
            limit = run.memory_limit_mb
            return "memory", f"It used {frame['peak_mb']} MB, more than its limit of {limit} MB."
        case "unbegun":
            return failure_to_begin(frame)
    if frame.get("out_of_memory"):
        return "memory", "The kernel killed it because the machine was out of memory."
    return "crash", f"Its process {exit_of(frame)}."


def failure_to_begin(frame: Frame) -> tuple[str, str]:
    """Return the category and the reason where no process lived to begin a run."""
    tried = f"It was given to {frame['tries']} processes, none of which began it; the last"
    if frame["out_of_memory"]:
        return "memory", f"{tried} was killed by the kernel because the machine was out of memory."
    if frame["overdue"]:
        return "crash", f"{tried} was killed because it had not within {frame['overdue']:g} s."
    return "crash", f"{tried} {exit_of(frame)}."


def own_ending(run: Run, frame: Frame, said: Outcome) -> Outcome:
    """Return what a run said of its end, with why it was cancelled, which it did not know."""
    own = replace(
        said,
        execution_id=run.execution_id,
        attempt=run.attempt,
        peak_memory_mb=frame.get("peak_mb"),
    )
    if (own.status, frame["stopped"]) == ("cancelled", "cancelled"):
        return replace(own, reason=frame["reason"])
    return own


def exit_of(frame: Frame) -> ProcessExit:
    """Return how the process of a run ended."""
    return ProcessExit(code=frame.get("code", 0), signal=frame.get("signal", 0))


def outcome_in(frame: Frame) -> Outcome | None:
    """Return what the run itself said of its end, None if that is nothing to go by."""
    given = frame.get("outcome")
    try:
        outcome = unpacked(Outcome, given) if given else None
        return outcome if outcome and is_sound(outcome) else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def is_sound(outcome: Outcome) -> bool:
    """Say whether an outcome is one that a run can have made, and not what somebody forged."""
    moments = (outcome.started_at, outcome.finished_at)
    texts = (
        outcome.reason,
        outcome.error_category,
        outcome.error,
        outcome.traceback,
        outcome.error_fingerprint,
    )
    return (
        outcome.status in ENDINGS_OF_RUNS
        and isinstance(outcome.duration_ms, int)
        and isinstance(outcome.retryable, bool)
        and (outcome.retry_after is None or 0 <= outcome.retry_after <= MAX_RETRY_AFTER)
        and all(isinstance(moment, datetime) and moment.tzinfo for moment in moments)
        and all(isinstance(text, str) for text in texts)
    )
