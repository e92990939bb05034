"""What an executor is handed and what it hands back: plain values that cross threads and pipes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt to be made. ``attempt`` is the fencing token of its claim.

    ``executor`` names where it runs, "" is the worker's own choice. ``timeout`` is in seconds.
    ``execution_count`` and ``last_success_at`` are the task's as it is claimed; the counts and the
    number of messages and of log lines are what attempts before this one have left on record.
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


@dataclass(frozen=True, slots=True)
class Partial:
    """Return it from a handler that did some of its work: ``result`` is kept, and why not all."""

    result: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one attempt ended. ``status`` is one of Execution.Status; all texts are storable.

    ``retryable`` says whether a failure may be tried again as far as the exception goes.
    ``retry_after`` is set where the handler itself asked to be run again, in seconds.
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
    whole: bool = True

    @property
    def may_go_on(self) -> bool:
        """Say whether another attempt may follow, which the policies of the task decide."""
        return self.status == "failed"

    def without_texts(self, reason: str) -> Outcome:
        """Return the outcome with only what every database can store, and why it is not whole."""
        kept = reason.encode("ascii", "replace").decode().replace("\0", "?")[:500]
        return replace(
            self,
            result=None,
            reason=f"Its result or error could not be stored: {kept}",
            error_category="",
            error="",
            traceback="",
            error_fingerprint="",
            retryable=False,
            retry_after=None,
            whole=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """An attempt that came to no end of its own: it was killed, or let go of, half-way.

    The task's ``on_lost`` says what becomes of its execution. ``charged`` says whether the loss
    counts towards ``max_losses``.
    """

    execution_id: int
    attempt: int
    reason: str
    charged: bool = True

    @property
    def may_go_on(self) -> bool:
        """Say whether another attempt may follow, which the policies of the task decide."""
        return True


Ending = Outcome | Loss


def fingerprint(cause: str) -> str:
    """Return a short key for a cause of failures that is told in words."""
    return hashlib.sha256(cause.encode("utf-8", "replace")).hexdigest()[:32]
