"""From the fork server's report on a process to the ending of its run."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from signal import SIGKILL
from typing import Any

from scheduled_tasks.exceptions import LeaseLost, RunCancelled, TimeLimitExceeded
from scheduled_tasks.executors.endings import (
    LEASE_LOST,
    WORKER_STOPPED,
    ProcessExit,
    broken_reason,
    cancelled,
    failed,
    ignored_timeout_reason,
    interrupted,
    lost,
    timeout_reason,
    unfinished_reason,
)
from scheduled_tasks.executors.process.wire import Frame, outcome_in
from scheduled_tasks.runtime.runs import Ending, Outcome, Run
from scheduled_tasks.runtime.validation import check_kinds
from scheduled_tasks.runtime.wording import duration

UNFINISHED = f"{unfinished_reason('process')}; killed."
OUT_OF_MEMORY = "Killed by the kernel: the machine was out of memory."


def ending_of(run: Run, frame: Frame, started_at: datetime, finished_at: datetime) -> Ending:
    """Return the ending of a run, from the fork server's report on its process."""
    facts: dict[str, Any] = {
        "started_at": started_at,
        "finished_at": finished_at,
        "peak_memory_mb": frame.get("peak_mb"),
        "traceback": frame.get("trace", ""),
    }
    if frame["stopped"] == "broken":
        return failed(run, "crash", broken_reason(frame["reason"]), **facts)
    if body := frame.get("body"):
        try:
            outcome = own_outcome(run, frame, outcome_in(body))
        except ValueError as error:
            return failed(run, "crash", broken_reason(f"an invalid end: {error}"), **facts)
        # A failure after the worker began to stop is probably due to the interruption: a loss.
        if outcome.status != "failed" or frame["stopped"] != "abandoned":
            return outcome
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
            tried = f"no process could be started for it within {duration(frame['seconds'])}"
            return "crash", f"The run did not begin: {tried} ({frame['reason']})."
        case "unfinished":
            return "crash", UNFINISHED
    if frame.get("out_of_memory"):
        return "memory", OUT_OF_MEMORY
    return "crash", f"{exit_of(frame)}"


def failure_to_begin(frame: Frame) -> tuple[str, str]:
    """Return the category and the reason of a run that no process has begun."""
    tried = f"The run did not begin in {frame['tries']} tries."
    if frame["out_of_memory"]:
        return "memory", f"{tried} {OUT_OF_MEMORY}"
    if frame["overdue"]:
        return "crash", f"{tried} Process was killed after {duration(frame['overdue'])}."
    return "crash", f"{tried} {exit_of(frame)}"


def own_outcome(run: Run, frame: Frame, outcome: Outcome) -> Outcome:
    """Return the outcome that a run has sent, as its fork server knows that it was interrupted.

    The run itself may not: its handler may have replaced the handlers of signals. Raise
    InvalidReportError.
    """
    own = replace(
        outcome,
        execution_id=run.execution_id,
        attempt=run.attempt,
        peak_memory_mb=frame.get("peak_mb"),
    )
    check_kinds(own)
    match frame["stopped"]:
        case "timeout":
            return interrupted(run, own, TimeLimitExceeded, timeout_reason(run))
        case "cancelled":
            return interrupted(run, own, RunCancelled, frame["reason"])
        case "refused":
            return interrupted(run, own, LeaseLost, LEASE_LOST)
    return own


def exit_of(frame: Frame) -> ProcessExit:
    return ProcessExit(code=frame.get("code", 0), signal=frame.get("signal", 0))
