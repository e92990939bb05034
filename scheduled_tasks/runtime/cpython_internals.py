"""What we use of CPython that it does not document for this purpose.

Tested on Python 3.11 to 3.13; see tests/runtime/test_cpython_internals.py.
"""

from __future__ import annotations

import ctypes
import subprocess
import threading
from typing import Any

from scheduled_tasks.exceptions import RunInterrupted


def interpreter_flags() -> list[str]:
    """Return the command line flags that give another interpreter the settings of this one."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    return flags


def is_generated(method: Any) -> bool:
    """Whether ``dataclasses`` has made a method: it compiles them from text."""
    return getattr(getattr(method, "__code__", None), "co_filename", "") == "<string>"


class PendingError(RunInterrupted):
    """Replaces an exception that has not yet been raised in a thread."""


def raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread, in place of one that has not been raised yet."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def discard_raised() -> None:
    """Discard an exception that another thread has raised for this one.

    CPython can also withdraw it, but then its threads keep checking for it at each step.
    """
    surfaced = False
    while not surfaced:
        try:
            raise_in(threading.get_ident(), PendingError)
            while True:
                pass
        except PendingError:
            surfaced = True
        except RunInterrupted:
            continue
