"""What a handler is told about the run that it is part of, and what it can say of it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, overload

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
from scheduled_tasks.runtime.sanitizing import redacted_text, strict_json

Item = TypeVar("Item")

#: Of what is said beside progress, so many characters are kept.
MAX_TEXT_LENGTH = 500


class NullRecorder:
    """Takes messages that nobody reads, as of a context that a test has made by hand."""

    def send(self, message: Message) -> None:
        """Forget it."""

    confirm = send


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the task and the execution to the extras of each record."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Keep the extras of the caller, too."""
        return msg, {**kwargs, "extra": {**(kwargs.get("extra") or {}), **(self.extra or {})}}


@dataclass(kw_only=True)
class TaskContext:
    """One attempt, handed to a handler that asks for it.

    A handler asks by naming a parameter ``context`` or by annotating any parameter with this
    class. ``scheduled_for`` is the slot of a scheduled run and the moment of asking of one
    started by hand; do date arithmetic with it, never with the clock, so that a late run does
    the work of its own slot. ``attempt`` counts from 1. ``execution_count`` says how many runs of
    the task have ended before this one, ``last_success_at`` when the last of them began that
    succeeded: what has changed since then has been seen by none. In ``test_mode`` somebody only
    tries the handler.

    What a handler says here survives a rollback of its own transactions. It raises LeaseLost
    where the execution is no longer this worker's, so that the handler stops.
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
    pace: Throttle = field(init=False, repr=False, compare=False)
    counting: Throttle = field(init=False, repr=False, compare=False)
    _lock: threading.RLock = field(
        default_factory=threading.RLock, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.pace, self.counting = Throttle(self.recorder), Throttle(self.recorder)

    def say_last(self) -> None:
        """Say what has not been said yet, since it was said too soon after the message before."""
        for pace in (self.pace, self.counting):
            pace.close()

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Return a logger whose lines are stored with the execution, and logged as ever.

        Its records carry the task and the execution as extras.
        """
        logger = logging.getLogger(f"scheduled_tasks.run.{self.task_name}")
        return RunLogger(logger, {"task": self.task_name, "execution": self.execution_id})

    @property
    def cancelled(self) -> bool:
        """Say whether the run has to stop: it is cancelled, too late, or its worker has to end.

        A loop that looks at it can end cleanly; otherwise an exception interrupts the handler.
        """
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
        """Say how far the run has come: so much of ``total``, where that is known.

        Or wrap what a loop goes through, ``for page in context.progress(pages)``, also with
        ``async for``: each item that the loop has done counts. It is written twice a second at
        most, however often it is said. Raise TypeError for anything else.
        """
        text = redacted_text(str(text), limit=MAX_TEXT_LENGTH)
        if total is None or isinstance(total, (int, float)):
            if isinstance(done, (int, float)):
                self.pace.say(partial(Progress, done=done, total=total, text=text))
                return None
            if isinstance(done, (Iterable, AsyncIterable)) and not isinstance(done, (str, bytes)):
                return ProgressLoop(self.pace, done, total, text)
        raise TypeError(
            f"progress() takes numbers, or what a loop goes through, not {done!r} of {total!r}."
        )

    def record(self, *, processed: int = 0, errors: int = 0) -> None:
        """Count more items that were processed, and those of them that had errors.

        A run that returns and has counted errors has succeeded in part. What an attempt before
        this one has counted goes on counting where that has left a checkpoint. It is written twice
        a second at most, like progress.
        """
        if not all(isinstance(number, int) for number in (processed, errors)):
            raise TypeError(f"record() takes whole numbers, not {processed!r} and {errors!r}.")
        with self._lock:
            counted = self.counts
            self.counts = Counts(
                processed=counted.processed + processed, errors=counted.errors + errors
            )
            self.counting.say(partial(getattr, self, "counts"))

    def heartbeat(self) -> None:
        """Make sure that the execution is still this attempt's, as before what cannot be undone.

        It asks the worker, who asks the database. Raise LeaseLost if it is not.
        """
        self._confirm(LeaseCheck())

    @property
    def checkpoint(self) -> Any:
        """Return the JSON value that this attempt, or one before it, left last; None for none."""
        return self.last_checkpoint

    @checkpoint.setter
    def checkpoint(self, value: Any) -> None:
        """Leave a JSON value for the next attempt; it is written when the assignment is over.

        Inside a transaction on SQLite, which lets nobody else write, it is written after that has
        ended. Raise TypeError for what has no JSON form, ValueError for what is too long to be
        stored: half a checkpoint is none.
        """
        stored = strict_json(value)
        self._confirm(Checkpoint(value=stored))
        self.last_checkpoint = stored

    async def acheckpoint(self, value: Any) -> None:
        """Leave a checkpoint as an assignment does, while the event loop goes on."""
        stored = strict_json(value)
        self.say_last()
        await asyncio.to_thread(self.recorder.confirm, Checkpoint(value=stored))
        self.last_checkpoint = stored

    def checkpoint_in_transaction(self, value: Any) -> None:
        """Leave a checkpoint that is committed, or rolled back, with the step that it is about.

        It is written on the handler's own connection, inside ``transaction.atomic()``, and
        ``checkpoint`` shows it once that is committed. Until then the worker can write nothing of
        this run: do it last, and end the transaction soon. Raise WrongTransaction outside one,
        LeaseLost where another attempt may have begun, and what ``checkpoint`` raises.
        """
        stored = strict_json(value)

        def show() -> None:
            self.last_checkpoint = stored

        self.say_last()
        self.attempt_store.checkpoint(stored, show)

    def once(self, key: str, ttl: float | timedelta | None = None) -> OnceBlock:
        """Return a block, for ``with`` or ``async with``, that says whether it is the first.

        The key, one of the task's, is taken for this execution. It is used up when the block ends
        without an exception, for ``ttl`` in seconds or for ever; an exception, or the end of the
        attempt, frees it. Who comes meanwhile, or later, is told False. Inside
        ``transaction.atomic()`` it is committed with what is done, exactly once; without, that is
        done at least once. The block raises LeaseLost if somebody else has taken the key.
        """
        return OnceBlock(self.attempt_store.key(checked_text("key", key)), checked_ttl(ttl))

    def _confirm(self, message: Message) -> None:
        if self.attempt_store.pending:
            # The worker would wait for this transaction, and this transaction for the worker.
            raise WrongTransaction(
                "checkpoint_in_transaction() was called in the transaction that is open: until it "
                "ends, the worker can confirm nothing of this run. End it first."
            )
        self.say_last()  # the next attempt goes on counting from there
        self.recorder.confirm(message)
