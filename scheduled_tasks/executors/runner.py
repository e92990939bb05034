"""One attempt, from a Run to its Outcome: resolve the handler, check the payload, call it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from time import perf_counter  # the function: a handler may replace it in the module
from typing import Any

from asgiref.sync import async_to_sync

from scheduled_tasks.exceptions import RetryLater, RunInterrupted, Skip
from scheduled_tasks.executors.attempt_store import DatabaseAttemptStore
from scheduled_tasks.executors.connections import (
    open_transactions,
    warn_of_open_transactions,
)
from scheduled_tasks.executors.endings import interrupted
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.runtime.attempt_store import AttemptStore
from scheduled_tasks.runtime.bounded_repr import class_name
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import TaskContext
from scheduled_tasks.runtime.failures import failure_of, failure_of_undescribable
from scheduled_tasks.runtime.logs.capture import logged_to
from scheduled_tasks.runtime.logs.printed_output import printed_to
from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import Begun, Counts, Recorder, StartedOver
from scheduled_tasks.runtime.runs import Outcome, Partial, Run
from scheduled_tasks.runtime.sanitizing import exact, redacted_json, redacted_text, safe_str
from scheduled_tasks.runtime.signal_sending import send
from scheduled_tasks.runtime.validation import MAX_RETRY_AFTER_SECONDS
from scheduled_tasks.signals import execution_started

Call = Callable[[Run, TaskContext], Any]

#: What a handler raises that was asked to stop; otherwise an exception like any other.
INTERRUPTIONS = (RunInterrupted, asyncio.CancelledError, KeyboardInterrupt)
#: What the results of other systems call a failure.
STATUSES_OF_FAILURE = ("error", "failed", "failure")


def perform(
    run: Run,
    *,
    clock: Callable[[], datetime],
    recorder: Recorder,
    cancellation: Cancellation,
    call: Call | None = None,
    alone: bool = False,
    on_returned: Callable[[], None] = lambda: None,
    on_error: Callable[[BaseException], None] = lambda error: None,
) -> Outcome:
    """Make one attempt and return its outcome, which holds whatever the handler raises.

    Messages of the handler go to ``recorder``. A stop that ``cancellation`` receives after the
    handler has ended has no effect. ``call`` replaces the handler; ``on_returned`` is called when
    it has ended, before anything is made of its end, and ``on_error`` receives the exception that
    failed it. ``alone`` means that everything in this process is part of the run.
    """
    call = call or call_handler
    started_at, stopwatch = clock(), Stopwatch()
    context = context_of(run, recorder, cancellation, DatabaseAttemptStore(run, clock))
    log = RunLog(run, recorder, clock)
    try:
        with logged_to(log, alone=alone), printed_to(log):
            if run.attempt > 1 and run.checkpoint is None:
                recorder.send(StartedOver())
            with warning_of_open_transactions():
                try:
                    with kept_recursion_limit():
                        result = cancellation.call(lambda: begin(run, context, call))
                finally:
                    stopwatch.stop()
                    on_returned()
            ending = ended_well(result, context)
    except Skip as skip:
        ending = {"status": "skipped", "reason": redacted_text(safe_str(skip))}
    except BaseException as error:  # noqa: BLE001 -- sys.exit() in a handler ends the run only
        on_error(error)
        ending = failure_from(error, run)
        if cancellation.requested and isinstance(error, INTERRUPTIONS):
            ending["error"] = ""  # the reason says the same
    context.send_pending()
    log.close()
    outcome = Outcome(
        execution_id=run.execution_id,
        attempt=run.attempt,
        started_at=started_at,
        finished_at=clock(),
        duration_ms=stopwatch.milliseconds,
        **ending,
    )
    if cancellation.error is None:
        return outcome
    return interrupted(run, outcome, cancellation.error, cancellation.reason)


class Stopwatch:
    """Measures a duration. The clock of ``perform`` may be set to the database's time meanwhile."""

    def __init__(self) -> None:
        self._begun = self._ended = perf_counter()

    def stop(self) -> None:
        """Measure up to now."""
        self._ended = perf_counter()

    @property
    def milliseconds(self) -> int:
        """The duration that was measured last."""
        return round((self._ended - self._begun) * 1000)


@contextmanager
def kept_recursion_limit() -> Iterator[None]:
    """Raise the recursion limit again if a handler has lowered it for its whole process."""
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        if sys.getrecursionlimit() < limit:
            sys.setrecursionlimit(limit)


@contextmanager
def warning_of_open_transactions() -> Iterator[None]:
    """Warn of transactions that a handler leaves open, unless it fails: that undoes them anyway."""
    before = open_transactions()
    try:
        yield
    except Skip:
        warn_of_open_transactions(before)
        raise
    warn_of_open_transactions(before)


def begin(run: Run, context: TaskContext, call: Call) -> Any:
    """Call the handler; where the begin is awaited, only once it is on record."""
    if run.begin_awaited:
        context.recorder.confirm(Begun())
    return call(run, context)


def call_handler(run: Run, context: TaskContext) -> Any:
    """Resolve the handler, check the payload again, and call it with the keys of the payload."""
    handler = registry.get(run.handler)
    arguments = handler.spec.clean(run.payload)
    if handler.spec.context_parameter:
        arguments[handler.spec.context_parameter] = context
    send(execution_started, sender=handler.function, context=context)
    result = handler.function(**arguments)
    # The result decides, not the function: a plain decorator may hide a coroutine. Only its class
    # is asked, here and in ended_well(): isinstance() asks the result, which may raise anything.
    if issubclass(type(result), Awaitable):
        return async_to_sync(context.cancellation.awaited)(result)
    return result


def context_of(
    run: Run, recorder: Recorder, cancellation: Cancellation, attempt_store: AttemptStore
) -> TaskContext:
    return TaskContext(
        task_name=run.task_name,
        execution_id=run.execution_id,
        attempt=run.attempt,
        scheduled_for=run.scheduled_for,
        schedule=run.schedule,
        trigger=run.trigger,
        triggered_by=run.triggered_by,
        payload=run.payload,
        test_mode=run.test_mode,
        execution_count=run.execution_count,
        last_success_at=run.last_success_at,
        last_checkpoint=run.checkpoint,
        counts=counts_so_far(run),
        recorder=recorder,
        attempt_store=attempt_store,
        cancellation=cancellation,
    )


def counts_so_far(run: Run) -> Counts:
    """Return the counts to continue from: zero, unless the attempt has a checkpoint."""
    if run.checkpoint is None:
        return Counts()
    return Counts(processed=run.processed_count, errors=run.error_count)


def ended_well(result: Any, context: TaskContext) -> dict[str, Any]:
    """Return the fields of the Outcome of a handler that has returned."""
    kind = type(result)
    if issubclass(kind, Partial):
        reason = redacted_text(safe_str(result.reason))
        return {"status": "partial", "result": redacted_json(result.result), "reason": reason}
    status = "partial" if context.counts.errors else "success"
    if issubclass(kind, BaseException):
        context.logger.warning(
            "The handler returned an exception, which does not fail the run. Raise the %s instead.",
            class_name(result),
        )
    if status == "success" and (denial := denial_of_success(result)):
        context.logger.warning(
            "The handler returned %s, which does not fail the run. Raise an exception if it has "
            "failed, or return Partial(result, reason) if it did part of its work.",
            denial,
        )
    return {"status": status, "result": redacted_json(result)}


def denial_of_success(result: Any) -> str:
    """Return what in a result says that the run has failed, as other systems take it; "" if none.

    Only the plainest forms, in a dictionary: ``success`` or ``ok`` is False, or there is an
    ``error`` or a ``status`` of failure, and neither of them is True.
    """
    if not issubclass(type(result), dict):
        return ""
    # Not by its own methods: those of a class derived from dict may raise anything.
    claims = {name: dict.get(result, name) for name in ("success", "ok")}
    if denied := [name for name, claim in claims.items() if claim is False]:
        return f'{{"{denied[0]}": False}}'
    if any(claim is True for claim in claims.values()):
        return ""
    if plain_text(dict.get(result, "error")):
        return '{"error": …}'
    status = plain_text(dict.get(result, "status"))
    return f'{{"status": "{status}"}}' if status.lower() in STATUSES_OF_FAILURE else ""


def plain_text(value: Any) -> str:
    """Return a text without what its class overrides, "" for anything else."""
    return exact(value) if issubclass(type(value), str) else ""


def failure_from(error: BaseException, run: Run) -> dict[str, Any]:
    """Return the fields of the Outcome of a handler that has raised."""
    try:
        fields = failure_of(error, caller=__name__) | chance_of_retry(run, error)
    except BaseException as problem:  # noqa: BLE001 -- an exception may be as broken as any object
        return failure_of_undescribable(error, problem)
    if isinstance(error, RetryLater) and "retry_after" not in fields:
        fields["error"] += f" (its delay is not between 0 and {RetryLater.MAX_DELAY.days} days)"
    return fields


def chance_of_retry(run: Run, error: BaseException) -> dict[str, Any]:
    """Return the fields of the Outcome that decide on a retry."""
    if isinstance(error, RetryLater) and (seconds := seconds_of(error.delay)) is not None:
        return {"retry_after": seconds}
    handler = registry.handlers.get(run.handler)
    return {"retryable": handler is None or handler.retry.allows(error)}


def seconds_of(delay: Any) -> float | None:
    """Return the delay of a RetryLater, None if a subclass has set an invalid one."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    valid = isinstance(seconds, (int, float)) and 0 <= seconds <= MAX_RETRY_AFTER_SECONDS
    return float(seconds) if valid else None
