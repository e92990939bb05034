"""What a run says of itself while it goes on: plain values that cross threads and pipes.

A handler never writes these into a table. They travel to the worker, which writes them in
batches, each guarded by the claim, so that they survive a rollback of the handler's and need no
connection of its process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of the execution's log. ``level`` is a number of the logging module.

    An ``unheard`` line has come to no logger of the run's process: the worker logs it.
    """

    logged_at: datetime
    level: int
    logger: str
    message: str
    unheard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the run has come; takes the place of what was said before."""

    done: float
    total: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where the next attempt may go on: a JSON value; takes the place of the one before."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many items were processed so far, and how many of them had errors.

    Takes the place of what was said before, so that it does no harm if it is written twice.
    """

    processed: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedOver:
    """An attempt that begins from the start: how far the one before came no longer counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCheck:
    """Nothing but the question whether the execution is still this attempt's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorNote:
    """A sentence of the executor's about a run that goes on, shown with its execution."""

    text: str


Message = LogLine | Progress | Checkpoint | Counts | StartedOver | LeaseCheck | ExecutorNote


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A message on its way: from which attempt, and what to call when its fate is known.

    ``number`` counts the messages of an execution, from 1 and through its attempts, so that none
    is written twice. ``answer(True)`` says that it is written, ``answer(False)`` that the worker
    no longer holds the execution and wrote nothing.
    """

    execution_id: int
    attempt: int
    number: int
    message: Message
    answer: Callable[[bool], None] | None = field(default=None, compare=False)


class Recorder(Protocol):
    """Where the messages of one run go. Both methods raise LeaseLost once one was refused."""

    def send(self, message: Message) -> None:
        """Hand a message over and go on."""

    def confirm(self, message: Message) -> None:
        """Hand a message over and wait until it is written."""
