"""One attempt, from a Run to its Outcome: resolve the handler, check the payload, call it."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import async_to_sync

from scheduled_tasks.exceptions import (
    RetryLater,
    RunCancelled,
    RunInterrupted,
    Skip,
    TimeLimitExceeded,
)
from scheduled_tasks.executors.attempt_store import DatabaseAttemptStore
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.runtime.attempt_store import AttemptStore
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import TaskContext
from scheduled_tasks.runtime.failures import failure_of, failure_of_undescribable
from scheduled_tasks.runtime.logs.capture import logged_to
from scheduled_tasks.runtime.logs.printed_output import printed_to
from scheduled_tasks.runtime.logs.run_log import RunLog
from scheduled_tasks.runtime.messages import Begun, Counts, Recorder, StartedOver
from scheduled_tasks.runtime.runs import Outcome, Partial, Run, fingerprint
from scheduled_tasks.runtime.sanitizing import redacted_json, redacted_text, safe_str
from scheduled_tasks.runtime.statuses import WELL_ENDED
from scheduled_tasks.signals import execution_started

Call = Callable[[Run, TaskContext], Any]

MAX_RETRY_AFTER_SECONDS = RetryLater.MAX_DELAY.total_seconds()
#: What a handler raises that was asked to stop; otherwise an exception like any other.
INTERRUPTIONS = (RunInterrupted, asyncio.CancelledError, KeyboardInterrupt)


def perform(
    run: Run,
    *,
    clock: Callable[[], datetime],
    recorder: Recorder,
    cancellation: Cancellation,
    call: Call | None = None,
    alone: bool = False,
    on_error: Callable[[BaseException], None] = lambda error: None,
) -> Outcome:
    """Make one attempt and return its outcome, which holds whatever the handler raises.

    Messages of the handler go to ``recorder``. A stop that ``cancellation`` receives after the
    handler has ended has no effect. ``call`` replaces the handler; ``on_error`` receives the
    exception that failed it. ``alone`` means that everything in this process is part of the run.
    """
    call = call or call_handler
    # The clock may be set to the database's time meanwhile, so it does not measure durations.
    started_at, begun = clock(), time.perf_counter()
    context = context_of(run, recorder, cancellation, DatabaseAttemptStore(run, clock))
    log = RunLog(run, recorder, clock)
    try:
        with logged_to(log, alone=alone), printed_to(log):
            if run.attempt > 1 and run.checkpoint is None:
                recorder.send(StartedOver())
            ending = ended_well(cancellation.call(lambda: begin(run, context, call)), context)
    except Skip as skip:
        ending = {"status": "skipped", "reason": redacted_text(safe_str(skip))}
    except BaseException as error:  # noqa: BLE001 -- sys.exit() in a handler ends the run only
        on_error(error)
        ending = failure_from(error, run)
        if cancellation.requested and isinstance(error, INTERRUPTIONS):
            ending["error"] = ""  # the reason says the same
    context.send_pending()
    log.close()
    ending |= interruption_of(cancellation, run, ending)
    return Outcome(
        execution_id=run.execution_id,
        attempt=run.attempt,
        started_at=started_at,
        finished_at=clock(),
        duration_ms=round((time.perf_counter() - begun) * 1000),
        **ending,
    )


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
    execution_started.send_robust(sender=handler.function, context=context)
    result = handler.function(**arguments)
    # The result is asked, not the function: a plain decorator may hide a coroutine.
    if inspect.isawaitable(result):
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
    if isinstance(result, Partial):
        reason = redacted_text(safe_str(result.reason))
        return {"status": "partial", "result": redacted_json(result.result), "reason": reason}
    status = "partial" if context.counts.errors else "success"
    return {"status": status, "result": redacted_json(result)}


def failure_from(error: BaseException, run: Run) -> dict[str, Any]:
    """Return the fields of the Outcome of a handler that has raised."""
    try:
        return failure_of(error, caller=__name__) | chance_of_retry(run, error)
    except BaseException as problem:  # noqa: BLE001 -- an exception may be as broken as any object
        return failure_of_undescribable(error, problem)


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


def interruption_of(cancellation: Cancellation, run: Run, ending: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the Outcome that change because the run was asked to stop.

    A run that reached its timeout has failed, even if it returned; its result is kept. A run that
    was cancelled is not a failure; the error that it raised itself is kept.
    """
    if cancellation.error is RunCancelled:
        if ending["status"] in WELL_ENDED:
            return {}
        return {
            "status": "cancelled",
            "reason": cancellation.reason,
            "error_category": "",
            "error_fingerprint": "",
        }
    timed_out = cancellation.error is TimeLimitExceeded
    if not cancellation.requested or not (timed_out or ending["status"] == "failed"):
        return {}
    return {
        "status": "failed",
        "error": cancellation.reason,
        "error_category": "timeout" if timed_out else "lost",
        "error_fingerprint": fingerprint(f"{cancellation.error} {run.handler}"),
        "retryable": True,
        "retry_after": None,
    }
