"""From the fork server's report on a process to the ending of its run."""

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
from scheduled_tasks.runtime.statuses import HANDLER_STATUSES

#: The longest delay that a handler may ask for with RetryLater.
MAX_RETRY_AFTER_SECONDS = RetryLater.MAX_DELAY.total_seconds()
OUT_OF_MEMORY = "Killed by the kernel: the machine was out of memory."


def ending_of(run: Run, frame: Frame, started_at: datetime, finished_at: datetime) -> Ending:
    """Return the ending of a run, from the fork server's report on its process."""
    outcome = outcome_in(frame)
    facts: dict[str, Any] = {
        "started_at": started_at,
        "finished_at": finished_at,
        "peak_memory_mb": frame.get("peak_mb"),
        "traceback": frame.get("trace", ""),
    }
    # A failure after the worker began to stop is probably due to the interruption, so it is a loss.
    if outcome is not None and (outcome.status != "failed" or frame["stopped"] != "abandoned"):
        return own_ending(run, frame, outcome)
    match frame["stopped"]:
        case "cancelled":
            return cancelled(run, frame["reason"], **facts)
        case "abandoned":
            return lost(run, WORKER_STOPPED, charged=False)
        case "lease" | "refused":
            return lost(run, "The worker could not renew its lease in time.", charged=True)
    return failed(run, *failure_of_process(run, frame), **facts)


def failure_of_process(run: Run, frame: Frame) -> tuple[str, str]:
    """Return the category and the reason of a run whose process ended without an outcome."""
    match frame["stopped"]:
        case "timeout" if frame.get("signal") != SIGKILL:
            # It ended after it was asked to stop, and before it was killed.
            return "timeout", f"{timeout_reason(run)} {exit_of(frame)}"
        case "timeout":
            return "timeout", f"{ignored_timeout_reason(run)}; killed."
        case "memory":
            limit = run.memory_limit_mb
            return "memory", f"Exceeded the {limit} MB memory limit ({frame['peak_mb']} MB)."
        case "unbegun":
            return failure_to_begin(frame)
        case "unforked":
            tried = f"no process could be started for it within {frame['seconds']:g} s"
            return "crash", f"The run did not begin: {tried} ({frame['reason']})."
    if frame.get("out_of_memory"):
        return "memory", OUT_OF_MEMORY
    return "crash", f"{exit_of(frame)}"


def failure_to_begin(frame: Frame) -> tuple[str, str]:
    """Return the category and the reason of a run that no process has begun."""
    tried = f"The run did not begin in {frame['tries']} tries."
    if frame["out_of_memory"]:
        return "memory", f"{tried} {OUT_OF_MEMORY}"
    if frame["overdue"]:
        return "crash", f"{tried} Process was killed after {frame['overdue']:g} s."
    return "crash", f"{tried} {exit_of(frame)}"


def own_ending(run: Run, frame: Frame, outcome: Outcome) -> Outcome:
    """Return the outcome that a run has sent, with the reason of a cancel that it did not know."""
    own = replace(
        outcome,
        execution_id=run.execution_id,
        attempt=run.attempt,
        peak_memory_mb=frame.get("peak_mb"),
    )
    if (own.status, frame["stopped"]) == ("cancelled", "cancelled"):
        return replace(own, reason=frame["reason"])
    return own


def exit_of(frame: Frame) -> ProcessExit:
    return ProcessExit(code=frame.get("code", 0), signal=frame.get("signal", 0))


def outcome_in(frame: Frame) -> Outcome | None:
    """Return the outcome that the run itself has sent, None if there is no valid one."""
    given = frame.get("outcome")
    try:
        outcome = unpacked(Outcome, given) if given else None
        return outcome if outcome and is_plausible(outcome) else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def is_plausible(outcome: Outcome) -> bool:
    """Whether a run can have made this outcome: what a run's process sends is not trusted."""
    moments = (outcome.started_at, outcome.finished_at)
    texts = (
        outcome.reason,
        outcome.error_category,
        outcome.error,
        outcome.traceback,
        outcome.error_fingerprint,
    )
    return (
        outcome.status in HANDLER_STATUSES
        and isinstance(outcome.duration_ms, int)
        and isinstance(outcome.retryable, bool)
        and (outcome.retry_after is None or 0 <= outcome.retry_after <= MAX_RETRY_AFTER_SECONDS)
        and all(isinstance(moment, datetime) and moment.tzinfo for moment in moments)
        and all(isinstance(text, str) for text in texts)
    )
