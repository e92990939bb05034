"""Run a handler without a task, an execution or a database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.runtime.messages import Checkpoint, Counts, LogLine, Message, Progress
from scheduled_tasks.runtime.runs import Outcome, Run
from scheduled_tasks.runtime.statuses import SUCCEEDED
from scheduled_tasks.testing.moments import Moment, moment_of, moment_or_now


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRun:
    """The outcome of one run of a handler, and what it reported.

    ``status`` is "success", "partial", "skipped", "failed" or "cancelled". ``result`` is the return
    value as it would be stored. ``exception`` is what the handler raised, except a Skip.
    ``reason``, ``error``, ``error_category`` and ``traceback`` are those of an execution.

    ``retryable`` is whether the handler's ``retry`` allows another attempt; ``retry_after`` is set
    if it raised RetryLater. ``progress`` and ``counts`` are the last ones, ``checkpoints`` and
    ``log`` are complete.
    """

    handler: str
    status: str
    result: Any
    reason: str
    error: str
    error_category: str
    traceback: str
    exception: BaseException | None
    retryable: bool
    retry_after: timedelta | None
    log: list[LogLine]
    progress: Progress | None
    counts: Counts
    checkpoints: list[Any]

    @classmethod
    def of(
        cls, run: Run, outcome: Outcome, reported: Sequence[Message], raised: BaseException | None
    ) -> HandlerRun:
        """Build it from the outcome of a run, its messages, and what the handler raised."""
        delay = outcome.retry_after
        progress = [message for message in reported if isinstance(message, Progress)]
        counts = [message for message in reported if isinstance(message, Counts)]
        return cls(
            handler=run.handler,
            status=outcome.status,
            result=outcome.result,
            reason=outcome.reason,
            error=outcome.error,
            error_category=outcome.error_category,
            traceback=outcome.traceback,
            exception=raised,
            retryable=outcome.retryable,
            retry_after=None if delay is None else timedelta(seconds=delay),
            log=[message for message in reported if isinstance(message, LogLine)],
            progress=progress[-1] if progress else None,
            counts=counts[-1] if counts else Counts(),
            checkpoints=[message.value for message in reported if isinstance(message, Checkpoint)],
        )

    @property
    def checkpoint(self) -> Any:
        """The last checkpoint, or None."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def succeeded(self) -> bool:
        """Whether the status is "success" or "partial"."""
        return self.status in SUCCEEDED

    def assert_succeeded(self) -> None:
        """Raise AssertionError, with the handler's traceback, unless the run succeeded."""
        if not self.succeeded:
            details = self.traceback or self.error or self.reason
            raise AssertionError(
                f"{self.handler} ended as {self.status}: {details}"
            ) from self.exception


def run_handler(
    handler: Callable[..., Any] | str,
    payload: Mapping[str, Any] | None = None,
    *,
    task_name: str | None = None,
    execution_id: int = 1,
    attempt: int = 1,
    scheduled_for: Moment | None = None,
    schedule: str = "",
    trigger: str = "schedule",
    triggered_by: str = "",
    test_mode: bool = False,
    execution_count: int = 0,
    last_success_at: Moment | None = None,
    checkpoint: Any = None,
    timeout: float | None = None,
) -> HandlerRun:
    """Run a handler in this thread, as a worker would, and return the outcome.

    ``handler`` is the decorated function, its key or its short name. The payload is checked, an
    ``async`` handler is awaited, and exceptions are part of the outcome. The other arguments are
    what the handler's context shows. ``scheduled_for`` is now by default, and ``timeout`` is in
    seconds. It needs no task, and no database unless the handler does.

    Raise UnknownHandler if the handler is not registered.
    """
    known = registry.get(handler) if isinstance(handler, str) else registry.handler_of(handler)
    run = Run(
        execution_id=execution_id,
        attempt=attempt,
        task_name=task_name or known.short_name,
        handler=known.key,
        scheduled_for=moment_or_now(scheduled_for),
        schedule=schedule,
        trigger=trigger,
        triggered_by=triggered_by,
        payload=as_json("payload", dict(payload or {})),
        test_mode=test_mode,
        execution_count=execution_count,
        last_success_at=None if last_success_at is None else moment_of(last_success_at),
        checkpoint=checkpoint,
        timeout=timeout,
    )
    # The host's clock, because a handler needs no database here.
    trial = Trial(concurrency=1, clock=timezone.now)
    return HandlerRun.of(run, trial.attempt(run), trial.reported, trial.raised)


class Trial(InlineExecutor):
    """Makes one attempt, and keeps the messages and the exception of the handler."""

    raised: BaseException | None = None

    def record_error(self, error: BaseException) -> None:
        """Keep the exception."""
        self.raised = error

    @property
    def reported(self) -> list[Message]:
        """The messages of the handler."""
        return [sent.message for sent in self.messages()]
