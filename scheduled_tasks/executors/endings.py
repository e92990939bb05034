"""Outcomes and reasons of runs that did not end by themselves, the same for every executor."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import RunCancelled, RunInterrupted, TimeLimitExceeded
from scheduled_tasks.runtime.runs import Loss, Outcome, Run, fingerprint
from scheduled_tasks.runtime.sanitizing import sanitized_text
from scheduled_tasks.runtime.statuses import WELL_ENDED
from scheduled_tasks.runtime.wording import duration

LEASE_LOST = "This worker no longer holds the execution."
WORKER_STOPPED = "The worker was stopped before the run finished."
RUN_CANCELLED = "The run was cancelled."
INTERRUPTED = "Interrupted from the keyboard."
#: The exit code of a process that could not report how its run ended: one that nothing else uses.
BROKEN = 243
#: Seconds in which a process has to report how its run ended, once the handler has, and a thread
#: once the timeout has passed, too.
FINISH_SECONDS = 60.0
#: Signals that come from outside the process; any other shows a fault of its own.
KILLING_SIGNALS = ("SIGHUP", "SIGINT", "SIGKILL", "SIGTERM")


def timeout_reason(run: Run) -> str:
    """Return the reason of a run that has reached its timeout."""
    return f"Timed out after {duration(run.timeout or 0)}."


def still_running_reason(run: Run) -> str:
    """Return the note on a run that has reached its timeout and has not stopped yet."""
    return f"{timeout_reason(run)} Still running."


def ignored_timeout_reason(run: Run) -> str:
    """Return the reason of a run that did not stop at its timeout, without a full stop."""
    grace = duration(app_settings.KILL_GRACE)
    return f"Timed out after {duration(run.timeout or 0)} and did not stop within {grace}"


def unfinished_reason(place: str) -> str:
    """Return the reason of a run that hangs after its handler has ended, without a full stop."""
    within = duration(FINISH_SECONDS)
    return f"The handler ended, but its {place} did not report how within {within}"


def broken_reason(flaw: str) -> str:
    """Return the reason of a run that has reported what no run reports."""
    return f"The run broke its connection to the worker: it has sent {flaw}."


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How the process of a run ended: by a signal, or with a code. ``str()`` is a sentence."""

    code: int = 0
    signal: int = 0

    def __str__(self) -> str:
        if self.code == BROKEN:
            return "The run left its process unable to report how it ended; see the end of its log."
        if not self.signal:
            return f"Process exited with code {self.code} before the run ended."
        try:
            name = signal.Signals(self.signal).name
        except ValueError:
            # Python has no names for most real-time signals.
            name = f"signal {self.signal}"
        verb = "was killed" if name in KILLING_SIGNALS else "crashed"
        return f"Process {verb} ({name})."


def failed(run: Run, category: str, reason: str, **fields: Any) -> Outcome:
    """Return the outcome of a run that was stopped from outside, or that ended its process.

    ``fields`` are further fields of the outcome, its two moments at least.
    """
    return ended(
        run,
        status="failed",
        error_category=category,
        error=reason,
        error_fingerprint=fingerprint(f"{category} {run.handler}"),
        **fields,
    )


def interrupted(run: Run, outcome: Outcome, error: type[RunInterrupted], reason: str) -> Outcome:
    """Return the outcome of a run that was asked to stop, as that changes it.

    A run that reached its timeout has failed, even if it returned; its result is kept. A run that
    was cancelled is not a failure; the error that it raised itself is kept.
    """
    if error is RunCancelled:
        if outcome.status in WELL_ENDED:
            return outcome
        return replace(
            outcome, status="cancelled", reason=reason, error_category="", error_fingerprint=""
        )
    timed_out = error is TimeLimitExceeded
    if not (timed_out or outcome.status == "failed"):
        return outcome
    return replace(
        outcome,
        status="failed",
        error=reason,
        error_category="timeout" if timed_out else "lost",
        error_fingerprint=fingerprint(f"{error} {run.handler}"),
        retryable=True,
        retry_after=None,
    )


def cancelled(run: Run, reason: str, **fields: Any) -> Outcome:
    """Return the outcome of a run that was cancelled, with fields as for ``failed``."""
    return ended(run, status="cancelled", reason=reason, **fields)


def ended(run: Run, *, started_at: datetime, finished_at: datetime, **fields: Any) -> Outcome:
    duration = finished_at - started_at
    traceback = sanitized_text(fields.pop("traceback", ""))
    return Outcome(
        execution_id=run.execution_id,
        attempt=run.attempt,
        started_at=started_at,
        finished_at=finished_at,
        duration_ms=max(round(duration.total_seconds() * 1000), 0),
        traceback=traceback,
        **fields,
    )


def lost(run: Run, reason: str, *, charged: bool) -> Loss:
    return Loss(execution_id=run.execution_id, attempt=run.attempt, reason=reason, charged=charged)
