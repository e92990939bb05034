"""What a run sends while it is in progress: plain values that cross threads and pipes.

A handler never writes these to the database. They go to the worker, which writes them in batches,
each guarded by the claim. So they survive a rollback in the handler, and the handler's process
needs no connection for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of the execution's log. ``level`` is a number of the logging module.

    No logger in the run's process has received an ``unlogged`` line: the worker logs it.
    """

    logged_at: datetime
    level: int
    logger: str
    message: str
    unlogged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run has come. Replaces the previous one."""

    done: float
    total: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where the next attempt may continue: a JSON value. Replaces the previous one."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The number of items processed so far, and how many of them failed.

    Replaces the previous one, so that writing it twice does no harm.
    """

    processed: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedOver:
    """The attempt begins from the start: the progress of the previous one no longer counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The handler is about to be called: from now on, this attempt may have had effects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCheck:
    """Carries nothing: its answer says whether the execution still belongs to this attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorNote:
    """A sentence of the executor about a run in progress, shown with its execution."""

    text: str


Message = LogLine | Progress | Checkpoint | Counts | StartedOver | Begun | LeaseCheck | ExecutorNote


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message with its attempt, its number, and the callback for its answer.

    ``number`` counts the messages of an execution, from 1 and across its attempts, so that none is
    written twice. ``answer(True)`` means that it was written, ``answer(False)`` that the worker no
    longer holds the execution and wrote nothing.
    """

    execution_id: int
    attempt: int
    number: int
    message: Message
    answer: Callable[[bool], None] | None = field(default=None, compare=False)


class Recorder(Protocol):
    """Sends the messages of one run. Both methods raise LeaseLost once one was refused."""

    def send(self, message: Message) -> None:
        """Send a message and do not wait until it is written."""

    def confirm(self, message: Message) -> None:
        """Send a message and wait until it is written."""
