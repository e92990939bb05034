"""The words for runs that did not end by themselves, the same for every executor."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduled_tasks.conf import app_settings
from scheduled_tasks.runtime.runs import Loss, Outcome, Run, fingerprint
from scheduled_tasks.runtime.sanitizing import sanitized_text

LEASE_LOST = "The execution is no longer this worker's."
WORKER_STOPPED = "Its worker was stopped before it finished."
RUN_CANCELLED = "The run was cancelled."


def timeout_reason(run: Run) -> str:
    """Say that a run has reached its timeout."""
    return f"It reached its timeout of {run.timeout:g} s."


def still_running_reason(run: Run) -> str:
    """Say of a run that has not ended yet that it has reached its timeout."""
    return f"{timeout_reason(run)} It is still running."


def ignored_timeout_reason(run: Run) -> str:
    """Say that a run had to be ended because it did not end at its timeout."""
    grace = app_settings.KILL_GRACE
    return f"It did not end within {grace:g} s of its timeout of {run.timeout:g} s"


@dataclass(frozen=True, slots=True)
class ProcessExit:
    """How the process of a run ended: by a signal, or with a code."""

    code: int = 0
    signal: int = 0

    def __str__(self) -> str:
        """Return it in words that follow "Its process"."""
        if not self.signal:
            return f"exited with code {self.code} before the run had ended"
        try:
            name = signal.Signals(self.signal).name
        except ValueError:
            name = f"signal {self.signal}"
        return f"was ended by {name}"


def failed(run: Run, category: str, reason: str, **fields: Any) -> Outcome:
    """Return the outcome of a run that was ended from outside, or ended its process.

    ``fields`` are others of the outcome, its two moments at least.
    """
    return ended(
        run,
        status="failed",
        error_category=category,
        error=reason,
        error_fingerprint=fingerprint(f"{category} {run.handler}"),
        **fields,
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
    """Return the loss of a run."""
    return Loss(execution_id=run.execution_id, attempt=run.attempt, reason=reason, charged=charged)
