"""Run a handler at once, with no row and no database of ours."""

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
from scheduled_tasks.testing.moments import Moment, moment_of, moment_or_now


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerRun:
    """How one run of a handler went, and what it said of itself meanwhile.

    ``status`` is "success", "partial", "skipped", "failed" or "cancelled". ``result`` is what would
    be stored of what the handler returned, ``exception`` what it raised, unless that was a Skip;
    the texts are those that an execution would have. ``retry_after`` is set where it raised
    RetryLater, ``retryable`` says whether its ``retry`` lets a failure be tried again. Of
    ``progress`` and ``counts`` there is what it said last, of ``checkpoints`` and ``log`` all.
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
        cls, run: Run, outcome: Outcome, said: Sequence[Message], raised: BaseException | None
    ) -> HandlerRun:
        """Return how a run went by its outcome, its messages, and what its handler raised."""
        delay = outcome.retry_after
        progress = [message for message in said if isinstance(message, Progress)]
        counts = [message for message in said if isinstance(message, Counts)]
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
            log=[message for message in said if isinstance(message, LogLine)],
            progress=progress[-1] if progress else None,
            counts=counts[-1] if counts else Counts(),
            checkpoints=[message.value for message in said if isinstance(message, Checkpoint)],
        )

    @property
    def checkpoint(self) -> Any:
        """Return the checkpoint that it left last, None if it left none."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def succeeded(self) -> bool:
        """Say whether it did its work, if only in part."""
        return self.status in {"success", "partial"}

    def assert_succeeded(self) -> None:
        """Raise AssertionError, with the handler's traceback, unless it did its work."""
        if not self.succeeded:
            said = self.traceback or self.error or self.reason
            raise AssertionError(f"{self.handler} ended {self.status}: {said}") from self.exception


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
    """Make one run of a handler here and now, as a worker would, and return how it went.

    ``handler`` is the decorated function, its key or its short name. The payload is checked, an
    ``async`` handler is awaited, and whatever it raises is in what is returned. What is given
    besides is what its context says; ``scheduled_for`` is the present moment if it is not given,
    ``timeout`` is in seconds. No task is needed and no database asked, unless the handler asks it.
    Raise UnknownHandler for what is not registered.
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
    trial = Trial(concurrency=1, clock=timezone.now)
    return HandlerRun.of(run, trial.attempt(run), trial.said, trial.raised)


class Trial(InlineExecutor):
    """Makes one attempt, and keeps what its handler says and raises."""

    raised: BaseException | None = None

    def note_error(self, error: BaseException) -> None:
        """Keep what the handler has raised."""
        self.raised = error

    @property
    def said(self) -> list[Message]:
        """Return what the handler has said."""
        return [sent.message for sent in self.messages()]
