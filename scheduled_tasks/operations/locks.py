"""Locks by name, for code that must not run twice at a time anywhere in a project."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
import weakref
from types import TracebackType
from typing import Self

from django.db import connections, router

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import LockLost
from scheduled_tasks.models import Lock
from scheduled_tasks.operations.lock_renewer import (
    LockRenewer,
    ThreadLockRenewer,
    TransactionLockRenewer,
)
from scheduled_tasks.runtime.cancellation import start_uninterrupted
from scheduled_tasks.runtime.clock import boottime
from scheduled_tasks.runtime.once import checked_text
from scheduled_tasks.runtime.sanitizing import safe_repr

#: Seconds between checks while waiting: an exception can only be raised in a thread between waits.
POLL_SECONDS = 0.05
#: The end of a block waits for the release for this part of a lease. The lock expires anyway.
MAX_RELEASE_LEASES = 1 / 3

#: Nothing waits longer: about a century, which every clock can add.
MAX_WAIT_SECONDS = 100 * 366 * 86_400


def lock(name: str, *, timeout: float | None = None) -> NamedLock:
    """Return a lock for ``with`` or ``async with``: one block at a time holds it, in all processes.

    The block waits ``timeout`` seconds for the lock (0: does not wait, None: waits for ever), then
    raises LockTimeout. A thread renews the lease of the lock, so that the lock becomes free a lease
    after its holder was killed.

    At its end the block raises LockLost if the lock was lost meanwhile. To find out earlier, call
    ``check()`` of the lock, as in ``with lock("import") as held: held.check()``. The lock is not
    re-entrant.
    """
    checked_text("name of a lock", name)
    if timeout is not None and not (isinstance(timeout, int | float) and timeout >= 0):
        shown = safe_repr(timeout, limit=100)
        raise ValueError(f"lock() waits 0 seconds or longer, not {shown}; None waits for ever.")
    return NamedLock(name, timeout if timeout is None else min(timeout, MAX_WAIT_SECONDS))


class NamedLock:
    """A lock by name, held inside its block."""

    def __init__(self, name: str, timeout: float | None) -> None:
        self.name = name
        self.timeout = timeout
        self._renewer: LockRenewer | None = None

    def check(self) -> None:
        """Raise LockLost unless the lock is certainly held. Call it before irreversible steps."""
        if self._renewer is None or self._renewer.lost:
            raise LockLost(
                f"The lock {self.name!r} is lost: it was not renewed in time, or was never held. "
                "Another process may hold it."
            )

    def __enter__(self) -> Self:
        """Wait for the lock."""
        renewer = self._begin()
        try:
            while not renewer.settled.wait(POLL_SECONDS):
                pass
            self._settle(renewer)
        except BaseException:
            # Interruptions of a run, too: the thread would go on to acquire the lock.
            renewer.stop()
            raise
        return self

    async def __aenter__(self) -> Self:
        """Wait for the lock."""
        renewer = self._begin()
        try:
            while not renewer.settled.is_set():  # noqa: ASYNC110 -- a thread sets it
                await asyncio.sleep(POLL_SECONDS)
            self._settle(renewer)
        except BaseException:
            renewer.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the lock. Raise LockLost if it was lost, unless the block raised."""
        if renewer := self._renewer:
            renewer.stop()
            deadline = boottime() + app_settings.LEASE * MAX_RELEASE_LEASES
            while not renewer.ended.wait(POLL_SECONDS) and boottime() < deadline:
                pass
            self._finish(raised=kind is not None)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Release the lock. Raise LockLost if it was lost, unless the block raised."""
        if renewer := self._renewer:
            renewer.stop()
            deadline = boottime() + app_settings.LEASE * MAX_RELEASE_LEASES
            while not renewer.ended.is_set() and boottime() < deadline:  # noqa: ASYNC110 -- likewise
                await asyncio.sleep(POLL_SECONDS)
            self._finish(raised=kind is not None)

    def _begin(self) -> LockRenewer:
        holder = f"{socket.gethostname()}:{os.getpid()}"
        row = Lock(name=self.name, token=uuid.uuid4().hex, holder=holder)
        connection = connections[router.db_for_write(Lock)]
        renewer: LockRenewer
        if connection.vendor == "sqlite" and connection.in_atomic_block:
            renewer = TransactionLockRenewer(row)
        else:
            renewer = ThreadLockRenewer(row, timeout=self.timeout)
            # An exception between __enter__ and the block means that __exit__ is not called.
            weakref.finalize(self, renewer.stop).atexit = False
        try:
            start_uninterrupted(renewer.start)
        except BaseException:
            renewer.stop()
            raise
        return renewer

    def _settle(self, renewer: LockRenewer) -> None:
        if renewer.error is not None:
            raise renewer.error
        self._renewer = renewer

    def _finish(self, *, raised: bool) -> None:
        try:
            if not raised:
                self.check()
        finally:
            self._renewer = None
