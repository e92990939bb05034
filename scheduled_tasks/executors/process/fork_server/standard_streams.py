"""Redirects the standard streams of a run's process: output below Python goes into pipes."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from scheduled_tasks.runtime.logs.current_run import leave_run
from scheduled_tasks.runtime.logs.logging_internals import all_handlers
from scheduled_tasks.runtime.logs.printed_output import DESCRIPTORS


def redirect(pipes: Mapping[str, int]) -> None:
    """Redirect descriptors 1 and 2 into pipes, for this process and those that it starts.

    Python's own streams and handlers of logging keep their destination: what passes through them
    is in the run's log already. A process that the handler forks does not write to that log, so
    its streams write into the pipes.
    """
    for name, pipe in pipes.items():
        before = getattr(sys, name)
        if before is not None and (kept := duplicate(before, DESCRIPTORS[name])):
            with suppress(AttributeError, OSError, ValueError):
                before.reconfigure(line_buffering=True)  # code that kept it writes into the pipe
            setattr(sys, name, kept)
            for handler in all_handlers():
                if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                    handler.setStream(kept)
        os.dup2(pipe, DESCRIPTORS[name])
        os.close(pipe)
    os.register_at_fork(after_in_child=redirect_fork)


def duplicate(stream: TextIO, descriptor: int) -> TextIO | None:
    """Return a stream to the present destination of a descriptor, None if it is closed."""
    with suppress(AttributeError, OSError, ValueError):
        stream.flush()
    with suppress(OSError, ValueError):
        return os.fdopen(
            os.dup(descriptor),
            "w",
            buffering=1,
            encoding=getattr(stream, "encoding", None) or "utf-8",
            errors=getattr(stream, "errors", None) or "backslashreplace",
        )
    return None


def flush_buffers() -> None:
    """Flush Python's original streams, and those of C, into the pipes."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()  # type: ignore[union-attr]
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).fflush(None)


def redirect_fork() -> None:
    """Make Python's streams, in a process that the handler has forked, write into the pipes."""
    # What such a process logs is not sent, so its streams must not lead into the log.
    leave_run()
    for name, descriptor in DESCRIPTORS.items():
        stream = os.fdopen(
            descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False
        )
        setattr(sys, name, stream)
