"""``TaskContext``: what a handler knows about its run, and what it can report and store."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeGuard, TypeVar, overload

from scheduled_tasks.exceptions import WrongTransaction
from scheduled_tasks.runtime.attempt_store import AttemptStore, InMemoryAttemptStore
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.messages import (
    Checkpoint,
    Counts,
    LeaseCheck,
    Message,
    Progress,
    Recorder,
)
from scheduled_tasks.runtime.once import OnceBlock, checked_text, checked_ttl
from scheduled_tasks.runtime.progress import ProgressLoop, Throttle
from scheduled_tasks.runtime.sanitizing import redacted_text, safe_repr, strict_json

Item = TypeVar("Item")

#: The maximum length of the text of a progress message.
MAX_TEXT_LENGTH = 500


class NullRecorder:
    """Drops messages, for a context that a test has made by hand."""

    def send(self, message: Message) -> None:
        """Drop it."""

    confirm = send


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the task and the execution to the extras of each record."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Merge with the extras of the caller."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


@dataclass(kw_only=True)
class TaskContext:
    """One attempt, handed to a handler that asks for it.

    A handler asks for it with a parameter named ``context``, or with any parameter annotated with
    this class. ``scheduled_for`` is the slot of a scheduled run, and the time of the request for a
    run started by hand. Use it for date arithmetic, not the clock, so that a late run does the
    work of its own slot. ``attempt`` counts from 1. ``execution_count`` is the number of runs of
    the task that have ended before this one. ``last_success_at`` is when the last successful one
    began: no run has seen changes since then. ``test_mode`` means a dry run.

    Messages sent here survive a rollback of the handler's own transactions. Methods raise
    LeaseLost if the worker no longer holds the execution, so that the handler stops.
    """

    task_name: str
    execution_id: int
    attempt: int
    scheduled_for: datetime
    trigger: str
    schedule: str = ""
    triggered_by: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    test_mode: bool = False
    execution_count: int = 0
    last_success_at: datetime | None = None
    counts: Counts = field(default_factory=Counts, repr=False)
    recorder: Recorder = field(default_factory=NullRecorder, repr=False)
    attempt_store: AttemptStore = field(default_factory=InMemoryAttemptStore, repr=False)
    cancellation: Cancellation = field(default_factory=Cancellation, repr=False)
    last_checkpoint: Any = field(default=None, repr=False)
    progress_updates: Throttle = field(init=False, repr=False, compare=False)
    count_updates: Throttle = field(init=False, repr=False, compare=False)
    _lock: threading.RLock = field(
        default_factory=threading.RLock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.progress_updates = Throttle(self.recorder)
        self.count_updates = Throttle(self.recorder)

    def send_pending(self) -> None:
        """Send the messages that were held back because they followed another too closely."""
        for updates in (self.progress_updates, self.count_updates):
            updates.close()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines are stored with the execution, and logged as usual.

        Its records carry the task and the execution as extras.
        """
        logger = logging.getLogger(f"scheduled_tasks.run.{self.task_name}")
        return RunLogger(logger, {"task": self.task_name, "execution": self.execution_id})

    @property
    def cancelled(self) -> bool:
        """Whether the run has to stop: it was cancelled, timed out, or its worker stops.

        A loop that checks it can end cleanly; otherwise an exception interrupts the handler.
        """
        if not self.cancellation.requested:
            self.cancellation.look_for_request()
        return self.cancellation.requested

    @overload
    def progress(self, done: float, total: float | None = None, text: str = "") -> None: ...

    @overload
    def progress(
        self,
        done: Iterable[Item] | AsyncIterable[Item],
        total: float | None = None,
        text: str = "",
    ) -> ProgressLoop[Item]: ...

    def progress(
        self,
        done: float | Iterable[Item] | AsyncIterable[Item],
        total: float | None = None,
        text: str = "",
    ) -> ProgressLoop[Item] | None:
        """Report how far the run has come: ``done`` of ``total``, if that is known.

        Or wrap an iterable, ``for page in context.progress(pages)``, also with ``async for``: each
        finished item counts. It is written at most twice a second, however often it is reported.
        Raise TypeError for anything else.
        """
        text = redacted_text(str(text), limit=MAX_TEXT_LENGTH)
        if total is None or is_number(total):
            if is_number(done):
                self.progress_updates.update(partial(Progress, done=done, total=total, text=text))
                return None
            if isinstance(done, (Iterable, AsyncIterable)) and not isinstance(done, (str, bytes)):
                return ProgressLoop(self.progress_updates, done, total, text)
        shown = f"{safe_repr(done, limit=100)} of {safe_repr(total, limit=100)}"
        raise TypeError(f"progress() takes numbers or an iterable, not {shown}.")

    def record(self, *, processed: int = 0, errors: int = 0) -> None:
        """Add to the number of items processed, and to how many of them failed.

        A run that returns after it has counted errors is a partial success. If the previous attempt
        left a checkpoint, counting continues from its counts. It is written at most twice a
        second, like progress. Raise TypeError for anything but whole numbers, also for True.
        """
        if not all(is_number(number) and isinstance(number, int) for number in (processed, errors)):
            shown = f"{safe_repr(processed, limit=100)} and {safe_repr(errors, limit=100)}"
            raise TypeError(f"record() takes whole numbers, not {shown}.")
        with self._lock:
            counted = self.counts
            self.counts = Counts(
                processed=counted.processed + processed, errors=counted.errors + errors
            )
            # Read when it is sent, perhaps later, so that the message has the latest counts.
            self.count_updates.update(partial(getattr, self, "counts"))

    def heartbeat(self) -> None:
        """Check that the execution still belongs to this attempt, before an irreversible step.

        The worker checks it in the database. Raise LeaseLost if it does not.
        """
        self._confirm(LeaseCheck())

    @property
    def checkpoint(self) -> Any:
        """The JSON value that this attempt, or a previous one, stored last; None if none did."""
        return self.last_checkpoint

    @checkpoint.setter
    def checkpoint(self, value: Any) -> None:
        """Store a JSON value for the next attempt. It is written when the assignment returns.

        Inside a transaction on SQLite, which blocks all other writers, it is written after the
        transaction. Raise TypeError for a value without a JSON form, ValueError for one that is
        too long: a checkpoint is never cut.
        """
        stored = strict_json(value)
        self._confirm(Checkpoint(value=stored))
        self.last_checkpoint = stored

    async def acheckpoint(self, value: Any) -> None:
        """Store a checkpoint without blocking the event loop."""
        stored = strict_json(value)
        self.send_pending()
        await asyncio.to_thread(self.recorder.confirm, Checkpoint(value=stored))
        self.last_checkpoint = stored

    def checkpoint_in_transaction(self, value: Any) -> None:
        """Store a checkpoint that is committed, or rolled back, with the step it belongs to.

        It is written on the handler's own connection, inside ``transaction.atomic()``;
        ``checkpoint`` returns it after the commit. Until then the worker cannot write anything
        of this run: call this last, and end the transaction soon. Raise WrongTransaction outside
        a transaction, LeaseLost if another attempt may have begun, and whatever ``checkpoint``
        raises.
        """
        stored = strict_json(value)

        def show() -> None:
            self.last_checkpoint = stored

        self.send_pending()
        self.attempt_store.checkpoint(stored, show)

    def once(self, key: str, ttl: float | timedelta | None = None) -> OnceBlock:
        """Return a block, for ``with`` or ``async with``, that tells whether it is the first.

        The execution acquires the key, which belongs to the task. When the block ends without an
        exception, the key is used up, for ``ttl`` seconds or for ever; an exception, or the end of
        the attempt, releases it. Any other block with the key receives False. Inside
        ``transaction.atomic()`` the key is committed with the work, which is done exactly once;
        outside, the work is done at least once. Raise LeaseLost if another run holds the key.
        """
        return OnceBlock(self.attempt_store.key(checked_text("key", key)), checked_ttl(ttl))

    def _confirm(self, message: Message) -> None:
        if self.attempt_store.pending:
            # The worker would wait for this transaction, and this transaction for the worker.
            raise WrongTransaction(
                "checkpoint_in_transaction() was called in the open transaction. The worker cannot "
                "confirm anything of this run until the transaction ends. End it first."
            )
        self.send_pending()  # the next attempt continues from these counts
        self.recorder.confirm(message)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value counts something. True is a number for Python, but no progress."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
