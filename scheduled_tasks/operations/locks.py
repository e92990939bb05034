"""Locks by name, for code that must not run twice at a time in all of a project."""

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
from scheduled_tasks.runtime.clock import lifetime
from scheduled_tasks.runtime.once import checked_text

#: A thread that waits looks up so often, in seconds: no exception reaches it while it waits.
POLL_SECONDS = 0.05
#: So much of a lease the end of a block waits until the lock is given back; it expires by itself.
MAX_RELEASE_LEASES = 1 / 3


def lock(name: str, *, timeout: float | None = None) -> NamedLock:
    """Return a lock for ``with`` or ``async with``: one block at a time has it, in all processes.

    It waits ``timeout`` seconds for it, 0 for not at all, None for ever, then raises LockTimeout.
    The lock is held under a lease that a thread renews, so that it is free a lease after its
    holder was killed. The block raises LockLost at its end if the lock was lost meanwhile, and
    ``check()`` of what ``as`` names does so at once. It is not re-entrant.
    """
    checked_text("name of a lock", name)
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"lock() waits 0 seconds or longer, not {timeout!r}; None waits for ever.")
    return NamedLock(name, timeout)


class NamedLock:
    """A lock by name; it is held inside the block."""

    def __init__(self, name: str, timeout: float | None) -> None:
        self.name = name
        self.timeout = timeout
        self._renewer: LockRenewer | None = None

    def check(self) -> None:
        """Raise LockLost unless the lock is held for certain, as before what cannot be undone."""
        if self._renewer is None or self._renewer.lost:
            raise LockLost(
                f"The lock {self.name!r} is lost, or was never held: it was not renewed in time, "
                "and somebody else may have it."
            )

    def __enter__(self) -> Self:
        """Wait for the lock."""
        renewer = self._begin()
        try:
            while not renewer.settled.wait(POLL_SECONDS):
                pass
            self._settle(renewer)
        except BaseException:
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
        """Give the lock back. Raise LockLost if it was lost, and nothing else was raised."""
        if renewer := self._renewer:
            renewer.stop()
            patience = lifetime() + app_settings.LEASE * MAX_RELEASE_LEASES
            while not renewer.ended.wait(POLL_SECONDS) and lifetime() < patience:
                pass
            self._finish(raised=kind is not None)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back. Raise LockLost if it was lost, and nothing else was raised."""
        if renewer := self._renewer:
            renewer.stop()
            patience = lifetime() + app_settings.LEASE * MAX_RELEASE_LEASES
            while not renewer.ended.is_set() and lifetime() < patience:  # noqa: ASYNC110 -- likewise
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
            # An exception may come between the lock and its block, which then has no end.
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
