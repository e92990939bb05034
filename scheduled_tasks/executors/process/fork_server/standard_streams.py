"""The standard streams in the process of a run: what is written below Python goes into pipes."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

from scheduled_tasks.runtime.logs.capture import all_handlers, leave_run
from scheduled_tasks.runtime.logs.printed_output import DESCRIPTORS


def divert(pipes: Mapping[str, int]) -> None:
    """Lead what is written to standard output and error into pipes, by whatever is started, too.

    Python's own streams lead where they did, and so do handlers of logging: what goes through
    them is in the log of the run already. A process that the handler forks has no part in that
    log, so its streams lead into the pipes.
    """
    for name, pipe in pipes.items():
        before = getattr(sys, name)
        if before is not None and (kept := kept_open(before, DESCRIPTORS[name])):
            with suppress(AttributeError, OSError, ValueError):
                before.reconfigure(line_buffering=True)  # who has kept it writes into the pipe
            setattr(sys, name, kept)
            for handler in all_handlers():
                if isinstance(handler, logging.StreamHandler) and handler.stream is before:
                    handler.setStream(kept)
        os.dup2(pipe, DESCRIPTORS[name])
        os.close(pipe)
    os.register_at_fork(after_in_child=lead_below)


def kept_open(stream: TextIO, descriptor: int) -> TextIO | None:
    """Return a stream to where a descriptor leads now, None where that is nowhere."""
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


def flush_below() -> None:
    """Write into the pipes what Python's first streams, and those of C, keep back."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(AttributeError, OSError, ValueError):
            stream.flush()  # type: ignore[union-attr]
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).fflush(None)


def lead_below() -> None:
    """Let a process that the handler has forked write into the pipes."""
    leave_run()
    for name, descriptor in DESCRIPTORS.items():
        stream = os.fdopen(
            descriptor, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False
        )
        setattr(sys, name, stream)
