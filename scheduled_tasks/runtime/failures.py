"""Turns an exception into fields of an Outcome: category, error, traceback, fingerprint."""

from __future__ import annotations

import socket
import traceback
from types import TracebackType
from typing import Any

from django.db import DatabaseError, InterfaceError

from scheduled_tasks.exceptions import InvalidPayload, LockLost, RetryLater, ScheduledTasksError
from scheduled_tasks.runtime import cancellation
from scheduled_tasks.runtime.bounded_repr import class_name
from scheduled_tasks.runtime.runs import fingerprint
from scheduled_tasks.runtime.sanitizing import redacted_text
from scheduled_tasks.runtime.tracebacks import describe, format_error

#: The most characters of an error, which is a class and a message.
MAX_ERROR_LENGTH = 2_000
#: Libraries whose exceptions all come from the network; recognized by name, never imported.
NETWORK_LIBRARIES = ("aiohttp", "httpx", "requests", "smtplib", "ssl", "urllib", "urllib3")


def failure_of(error: BaseException, *, caller: str) -> dict[str, Any]:
    """Return the fields of an Outcome that failed with this exception.

    ``caller`` is the module that called the handler; the traceback begins after its frames.
    """
    frames = without_frames_of({caller, cancellation.__name__}, error.__traceback__)
    return {
        "status": "failed",
        "error_category": category_of(error),
        "error": redacted_text(short_text(error), limit=MAX_ERROR_LENGTH),
        "traceback": redacted_text(long_text(error, frames)),
        "error_fingerprint": fingerprint_of(error, frames),
    }


def failure_of_undescribable(error: BaseException, problem: BaseException) -> dict[str, Any]:
    """Return the fields for an exception that ``failure_of`` could not describe, and why not."""
    # The classes of both come from a metaclass, which may be broken, too.
    name, why = map(class_name, (error, problem))
    return {
        "status": "failed",
        "error_category": "logic",
        "error": f"{name} (it could not be described: {why})",
        "error_fingerprint": fingerprint(name),
    }


def short_text(error: BaseException) -> str:
    try:
        return describe(error).strip()
    except Exception as broken:  # noqa: BLE001 -- an exception may be as broken as any object
        return f"{type(error).__name__} (its text cannot be shown: {type(broken).__name__})"


def long_text(error: BaseException, frames: TracebackType | None) -> str:
    try:
        return format_error(error, frames)
    except Exception:  # noqa: BLE001
        return short_text(error)


def category_of(error: BaseException) -> str:
    """Return the error category of an exception, by its class."""
    match error:
        case InvalidPayload():
            return "payload"
        case RetryLater() | LockLost():
            # Errors of this package, but a retry is what one asks for, and may help the other.
            return "logic"
        case TimeoutError():  # LockTimeout too, so before the other errors of this package
            return "timeout"
        case ScheduledTasksError():
            return "permanent"
        case MemoryError():
            return "memory"
        case ConnectionError() | socket.gaierror():
            return "network"
        case DatabaseError() | InterfaceError():
            return "database"
        case Exception() if library_of(error) in NETWORK_LIBRARIES:
            return "timeout" if "Timeout" in type(error).__name__ else "network"
        case _:
            return "logic"


def library_of(error: BaseException) -> str:
    return str(type(error).__module__).partition(".")[0]


def fingerprint_of(error: BaseException, frames: TracebackType | None) -> str:
    """Return a key that failures of one cause share: class and place, but not the message."""
    last = traceback.extract_tb(frames, limit=-1)
    place = "".join(f"{frame.filename}:{frame.name}" for frame in last)
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return fingerprint(f"{kind} {place}")


def without_frames_of(modules: set[str], frames: TracebackType | None) -> TracebackType | None:
    """Return the traceback from the handler on; an error in our own code keeps all frames."""
    inner = frames
    while inner is not None and inner.tb_frame.f_globals.get("__name__") in modules:
        inner = inner.tb_next
    return inner or frames
