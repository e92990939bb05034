"""The attempt store in the database; ``runtime.attempt_store`` describes what it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, connections, router, transaction
from django.db.transaction import Atomic

from scheduled_tasks.exceptions import LeaseLost, WrongTransaction
from scheduled_tasks.lifecycle import recording
from scheduled_tasks.models import Execution, OnceKey
from scheduled_tasks.runtime.attempt_store import Key
from scheduled_tasks.runtime.django_internals import open_blocks
from scheduled_tasks.runtime.runs import Run


class DatabaseAttemptStore:
    """The store of one attempt. Writes are guarded: an attempt that has ended adds none.

    The clock tells the database's time, and keys expire by it.
    """

    def __init__(self, run: Run, clock: Callable[[], datetime]) -> None:
        self.run = run
        self.clock = clock
        self._written_in: Atomic | None = None

    @property
    def pending(self) -> bool:
        return self._written_in is not None and self._written_in in open_blocks(self._connection)

    def checkpoint(self, value: Any, show: Callable[[], None]) -> None:
        using = router.db_for_write(Execution)
        own = open_blocks(self._connection)
        if not own:
            raise WrongTransaction(
                "checkpoint_in_transaction() writes a checkpoint that is committed with the step "
                f"it belongs to: call it inside transaction.atomic(using={using!r})."
            )
        run = self.run
        if not recording.leave_checkpoint((run.execution_id, run.attempt), value):
            raise LeaseLost(f"{described(run)} has ended: it can no longer write a checkpoint.")
        # The outermost block: an inner one only ends a savepoint.
        self._written_in = own[0]
        transaction.on_commit(lambda: self._committed(show), using=using)

    def key(self, key: str) -> Key:
        return DatabaseKey(self.run, key, self.clock)

    def _committed(self, show: Callable[[], None]) -> None:
        self._written_in = None
        show()

    @property
    def _connection(self) -> Any:
        return connections[router.db_for_write(Execution)]


class DatabaseKey:
    """A key that one attempt acquires, uses up or releases."""

    def __init__(self, run: Run, key: str, clock: Callable[[], datetime]) -> None:
        self.run = run
        self.clock = clock
        self.row = OnceKey(
            task_name=run.task_name,
            key=key,
            execution_id=run.execution_id,
            attempt=run.attempt,
        )

    def acquire(self) -> bool:
        return OnceKey.objects.acquire(self.row, self.clock())

    def use_up(self, ttl: timedelta | None) -> None:
        """Use it up, or release it in test mode: a dry run does not count as done."""
        if self.run.test_mode:
            self.release()
            return
        if not self.row.use_up(None if ttl is None else self.clock() + ttl):
            raise LeaseLost(f"{described(self.run)} no longer holds the key {self.row.key!r}.")

    def release(self) -> None:
        """Release it. If that cannot be written, the next attempt takes the key over.

        Nothing can be written in a broken transaction, but its rollback releases the key.
        """
        with suppress(Error):
            self.row.release()


def described(run: Run) -> str:
    return f"Attempt {run.attempt} of execution {run.execution_id}"
