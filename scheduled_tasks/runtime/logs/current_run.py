"""The run that the calling code is part of, found by its log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from scheduled_tasks.runtime.logs.run_log import RunLog

in_context: ContextVar[RunLog | None] = ContextVar("run_log", default=None)


class Process:
    """``only`` is the log of the run, in a process that makes one run and nothing else."""

    only: RunLog | None = None


def current_log() -> RunLog | None:
    """Return the log of the run that this code is part of, None outside runs."""
    return in_context.get() or Process.only


@contextmanager
def entered(log: RunLog, *, alone: bool) -> Iterator[None]:
    """Make this block part of a run; if ``alone``, all threads of the process meanwhile."""
    token = in_context.set(log)
    if alone:
        Process.only = log
    try:
        yield
    finally:
        if alone:
            Process.only = None
        in_context.reset(token)


def leave_run() -> None:
    """Detach this process, which a handler has forked, from the run."""
    in_context.set(None)
    Process.only = None
