"""What goes into an executor and comes out of it: plain values that cross threads and pipes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt to be made. ``attempt`` is the fencing token of its claim.

    ``executor`` "" means the worker's default; ``timeout`` is in seconds. ``execution_count`` and
    ``last_success_at`` belong to the task at the time of the claim. The counts, and the numbers of
    messages and log lines, are those of previous attempts. With ``begin_awaited``, a ``Begun`` is
    written before the handler is called.
    """

    execution_id: int
    attempt: int
    task_name: str
    handler: str
    scheduled_for: datetime
    trigger: str
    schedule: str = ""
    triggered_by: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    test_mode: bool = False
    execution_count: int = 0
    last_success_at: datetime | None = None
    checkpoint: Any = None
    processed_count: int = 0
    error_count: int = 0
    message_count: int = 0
    log_count: int = 0
    executor: str = ""
    timeout: float | None = None
    memory_limit_mb: int | None = None
    begin_awaited: bool = False


@dataclass(frozen=True, slots=True)
class Partial:
    """The return value of a handler that did part of its work, with the reason why not all."""

    result: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended. ``status`` is one of Execution.Status; all texts are sanitized.

    ``retryable`` says whether the exception allows a retry; ``retry_after``, in seconds, is set if
    the handler itself asked to be run again. ``complete`` is False if the texts had to be dropped.
    """

    execution_id: int
    attempt: int
    status: str
    started_at: datetime
    finished_at: datetime
    duration_ms: int
    result: Any = None
    reason: str = ""
    error_category: str = ""
    error: str = ""
    traceback: str = ""
    error_fingerprint: str = ""
    peak_memory_mb: int | None = None
    retryable: bool = True
    retry_after: float | None = None
    complete: bool = True

    @property
    def may_be_retried(self) -> bool:
        """Whether the policies of the task may allow another attempt."""
        return self.status == "failed"

    def without_texts(self, reason: str) -> Outcome:
        """Return the outcome with only what every database can store, and the reason for that."""
        # ASCII only, and short: whatever could not be stored may be quoted in the reason.
        kept = reason.encode("ascii", "replace").decode().replace("\0", "?")[:500]
        return replace(
            self,
            result=None,
            reason=f"The result or error could not be stored: {kept}",
            error_category="",
            error="",
            traceback="",
            error_fingerprint="",
            retryable=False,
            retry_after=None,
            complete=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An attempt that did not end by itself: it was killed, or abandoned.

    The task's ``on_lost`` decides what happens to its execution. ``charged`` is False where the run
    cannot have been the cause: its worker was stopped. Any other loss makes it a suspect.
    """

    execution_id: int
    attempt: int
    reason: str
    charged: bool = True

    @property
    def may_be_retried(self) -> bool:
        """Whether the policies of the task may allow another attempt."""
        return True


Ending = Outcome | Loss


def fingerprint(cause: str) -> str:
    """Return a short key for a cause of failures that is given as text."""
    return hashlib.sha256(cause.encode("utf-8", "replace")).hexdigest()[:32]
