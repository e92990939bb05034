"""One attempt, from a Run to its Outcome: resolve, validate, announce, call, report."""

from __future__ import annotations

import hashlib
import inspect
import logging
import time
import traceback as traceback_module
from collections.abc import Awaitable, Callable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.db import DatabaseError, InterfaceError

from scheduled_tasks.context import TaskContext
from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.registry import Handler, registry
from scheduled_tasks.runs import Outcome, Run
from scheduled_tasks.signals import execution_finished, execution_started
from scheduled_tasks.storable import storable_json, storable_text

if TYPE_CHECKING:
    from scheduled_tasks.models import Execution

logger = logging.getLogger(__name__)

SHORT_TEXT = 2_000


def perform(run: Run, *, clock: Callable[[], datetime]) -> Outcome:
    """Make one attempt and return how it ended; whatever the handler raises is in the outcome."""
    started_at, begun = clock(), time.perf_counter()
    logger.info("start task=%s execution=%s attempt=%s", *name_of(run))
    try:
        ending = succeeded(call(run))
    except KeyboardInterrupt:
        ending = {"status": "cancelled", "reason": "Interrupted from the keyboard."}
    except BaseException as error:  # noqa: BLE001 -- sys.exit() in a handler ends the run only
        ending = failed(error)
    duration_ms = round((time.perf_counter() - begun) * 1000)
    report(run, ending, duration_ms)
    return Outcome(
        execution_id=run.execution_id,
        attempt=run.attempt,
        started_at=started_at,
        finished_at=clock(),
        duration_ms=duration_ms,
        **ending,
    )


def call(run: Run) -> Any:
    """Resolve the handler, check the payload once more, and call with the keys that it holds."""
    handler = registry.get(run.handler)
    arguments = handler.spec.clean(run.payload)
    context = context_of(run)
    if handler.spec.context_parameter:
        arguments[handler.spec.context_parameter] = context
    execution_started.send_robust(sender=handler.function, context=context)
    return call_function(handler, arguments)


def announce_end(execution: Execution) -> None:
    """Tell the project that an execution has ended, once the worker has committed its end."""
    function = registry.get(execution.handler).function
    execution_finished.send_robust(sender=function, execution=execution)


def call_function(handler: Handler, arguments: dict[str, Any]) -> Any:
    result = handler.function(**arguments)
    return async_to_sync(awaited)(result) if inspect.isawaitable(result) else result


async def awaited(result: Awaitable[Any]) -> Any:
    return await result


def context_of(run: Run) -> TaskContext:
    return TaskContext(
        task_name=run.task_name,
        execution_id=run.execution_id,
        attempt=run.attempt,
        scheduled_for=run.scheduled_for,
        schedule=run.schedule,
        trigger=run.trigger,
        triggered_by=run.triggered_by,
        payload=run.payload,
    )


def succeeded(result: Any) -> dict[str, Any]:
    return {"status": "success", "result": storable_json(result)}


def failed(error: BaseException) -> dict[str, Any]:
    frames = without_own_frames(error.__traceback__)
    return {
        "status": "failed",
        "error_category": category_of(error),
        "error": storable_text(short_text(error), limit=SHORT_TEXT),
        "traceback": storable_text(long_text(error, frames)),
        "error_fingerprint": fingerprint_of(error, frames),
    }


def short_text(error: BaseException) -> str:
    try:
        return "".join(traceback_module.format_exception_only(error)).strip()
    except Exception as broken:  # noqa: BLE001 -- an exception may be as broken as any object
        return f"{type(error).__name__}, which cannot be shown: {type(broken).__name__}"


def long_text(error: BaseException, frames: TracebackType | None) -> str:
    try:
        return "".join(traceback_module.format_exception(type(error), error, frames))
    except Exception:  # noqa: BLE001
        return "".join(traceback_module.format_tb(frames)) + short_text(error)


def category_of(error: BaseException) -> str:
    """Return the kind of failure, by the class of the exception."""
    match error:
        case InvalidPayload():
            return "payload"
        case ScheduledTasksError():
            return "permanent"
        case MemoryError():
            return "memory"
        case TimeoutError():
            return "timeout"
        case ConnectionError():
            return "network"
        case DatabaseError() | InterfaceError():
            return "database"
        case _:
            return "logic"


def fingerprint_of(error: BaseException, frames: TracebackType | None) -> str:
    """Return what failures of one cause share: the class and the place, not the message."""
    last = traceback_module.extract_tb(frames)[-1:]
    place = "".join(f"{frame.filename}:{frame.name}" for frame in last)
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return hashlib.sha256(f"{kind} {place}".encode("utf-8", "replace")).hexdigest()[:32]


def without_own_frames(frames: TracebackType | None) -> TracebackType | None:
    """Begin a traceback where the handler begins; an error of ours keeps all its frames."""
    inner = frames
    while inner is not None and inner.tb_frame.f_globals.get("__name__") == __name__:
        inner = inner.tb_next
    return inner or frames


def report(run: Run, ending: dict[str, Any], duration_ms: int) -> None:
    if ending["status"] == "failed":
        logger.error(
            "failed task=%s execution=%s attempt=%s duration_ms=%s\n%s",
            *name_of(run),
            duration_ms,
            ending["traceback"],
        )
    else:
        logger.info(
            "%s task=%s execution=%s attempt=%s duration_ms=%s",
            ending["status"],
            *name_of(run),
            duration_ms,
        )


def name_of(run: Run) -> tuple[str, int, int]:
    return run.task_name, run.execution_id, run.attempt
