"""Holds a lock for a block of code: by a thread, or by the transaction around the block."""

from __future__ import annotations

import logging
import random
import threading
from time import monotonic
from typing import Protocol

from django.db import Error, connections, router

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import LockTimeout
from scheduled_tasks.models import Lock
from scheduled_tasks.runtime.clock import boottime

logger = logging.getLogger(__name__)

#: Seconds between attempts to acquire a lock (random).
RETRY_SECONDS = (0.05, 0.25)


class LockRenewer(Protocol):
    """Holds a lock until ``stop``, once ``settled`` is set without an ``error``.

    ``ended`` is set when the lock was given back, or is no longer waited for.
    """

    settled: threading.Event
    ended: threading.Event
    error: Exception | None

    @property
    def lost(self) -> bool:
        """Whether another holder may have the lock."""

    def start(self) -> None:
        """Begin to wait for the lock."""

    def stop(self) -> None:
        """Give the lock back, or stop waiting for it."""


class ThreadLockRenewer:
    """Acquires a lock, renews it and gives it back, in a thread with its own connection.

    So no part of it belongs to the caller's transactions, which may be long and may be rolled back.
    The lock is lost when its row belongs to another holder, or when it was not renewed for a whole
    lease. The clock for that includes time that the machine sleeps.
    """

    def __init__(self, row: Lock, *, timeout: float | None) -> None:
        self.row = row
        self.lease = app_settings.LEASE
        self.settled, self.ended = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self._deadline = None if timeout is None else monotonic() + timeout
        self._stop = threading.Event()
        self._gone = False
        self._until = 0.0

    @property
    def lost(self) -> bool:
        """Whether another holder may have the lock."""
        return self._gone or boottime() >= self._until

    def start(self) -> None:
        """Begin to wait for the lock."""
        # A process that exits does not wait for it: the lease of the lock ends anyway.
        threading.Thread(target=self._run, name=f"lock-{self.row.name}", daemon=True).start()

    def stop(self) -> None:
        """Give the lock back, or stop waiting for it."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._hold()
        except Exception as error:  # noqa: BLE001 -- raised in the thread that waits
            self.error = error
        finally:
            self.ended.set()
            self.settled.set()

    def _hold(self) -> None:
        try:
            if self._acquire():
                self.settled.set()
                self._renew_until_stopped()
        finally:
            connections.close_all()

    def _acquire(self) -> bool:
        while not self._stop.is_set():
            # Taken before the row is written: the database counts the lease from a later moment.
            begun = boottime()
            if Lock.objects.acquire(self.row, lease=self.lease):
                self._until = begun + self.lease
                return True
            left = self._time_left()
            if left <= 0:
                raise LockTimeout(f"{Lock.objects.described(self.row.name)}.")
            self._stop.wait(min(random.uniform(*RETRY_SECONDS), left))  # noqa: S311
        return False

    def _time_left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - monotonic()

    def _renew_until_stopped(self) -> None:
        pause = self.lease / 3
        while not self._stop.wait(pause) and not self.lost:
            pause = self._renew()
        try:
            self._gone |= not Lock.objects.release(self.row)
        except Error as error:
            logger.warning("lock %s not released, it will expire: %s", self.row.name, error)

    def _renew(self) -> float:
        """Renew the lock; return the seconds until the next renewal."""
        begun = boottime()
        try:
            if Lock.objects.renew(self.row, lease=self.lease):
                self._until = begun + self.lease
            else:
                self._gone = True
        except Error as error:
            logger.warning("lock %s not renewed, trying again: %s", self.row.name, error)
            connections.close_all()
            # Sooner than usual, so that several tries are left before the lease is over.
            return self.lease / 12
        return self.lease / 3


class TransactionLockRenewer:
    """Holds a lock by the caller's own transaction, on SQLite.

    SQLite has one writer at a time. So no other connection could acquire or renew the lock before
    this transaction ends. No other process can take it either, since this transaction blocks all
    writers once the row is written.
    """

    def __init__(self, row: Lock) -> None:
        self.row = row
        self.settled, self.ended = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.lost = False

    def start(self) -> None:
        """Acquire it at once, or set ``error``: waiting would block the holder."""
        if not Lock.objects.acquire(self.row, lease=app_settings.LEASE):
            self.error = LockTimeout(
                f"{Lock.objects.described(self.row.name)} and cannot release it before this "
                "transaction ends, because SQLite has one writer at a time. Take the lock before "
                "the transaction begins."
            )
        self.settled.set()

    def stop(self) -> None:
        """Delete the row, unless the transaction is going to be rolled back."""
        if self.error is None and not connections[router.db_for_write(Lock)].needs_rollback:
            Lock.objects.release(self.row)
        self.ended.set()
