"""Who holds a lock for a block of code: a thread, or the transaction that the block is part of."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Protocol

from django.db import Error, connections, router

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import LockTimeout
from scheduled_tasks.models import Lock
from scheduled_tasks.runtime.clock import lifetime

logger = logging.getLogger(__name__)

#: Who waits for a lock asks for it again after so many seconds, at random.
RETRY_SECONDS = (0.05, 0.25)


class LockRenewer(Protocol):
    """Holds a lock, once it is ``settled`` without an ``error``, until it is told to ``stop``."""

    settled: threading.Event
    ended: threading.Event
    error: Exception | None

    @property
    def lost(self) -> bool:
        """Say whether somebody else may have the lock."""

    def start(self) -> None:
        """Begin to wait for it."""

    def stop(self) -> None:
        """Give it back, or wait for it no longer; ``ended`` tells when that is done."""


class ThreadLockRenewer:
    """Waits for a lock, renews it and gives it back, in a thread with a connection of its own.

    So nothing of it is part of the transactions of whoever uses the lock, which may be long, and
    rolled back. It is lost when its row is somebody else's, or was not renewed for a whole lease by
    a clock that goes on while the machine sleeps: somebody else may have had it since.
    """

    def __init__(self, row: Lock, *, timeout: float | None) -> None:
        self.row = row
        self.lease = app_settings.LEASE
        self.settled, self.ended = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._stop = threading.Event()
        self._gone = False
        self._until = 0.0

    @property
    def lost(self) -> bool:
        """Say whether somebody else may have the lock."""
        return self._gone or lifetime() >= self._until

    def start(self) -> None:
        """Begin to wait for it."""
        threading.Thread(target=self._run, name=f"lock-{self.row.name}", daemon=True).start()

    def stop(self) -> None:
        """Give it back, or wait for it no longer; ``ended`` tells when that is done."""
        self._stop.set()

    def _run(self) -> None:
        try:
            self._hold()
        except Exception as error:  # noqa: BLE001 -- it is raised where the lock is waited for
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
            begun = lifetime()
            if Lock.objects.acquire(self.row, lease=self.lease):
                self._until = begun + self.lease
                return True
            left = self._time_left()
            if left <= 0:
                raise LockTimeout(f"{Lock.objects.described(self.row.name)}.")
            self._stop.wait(min(random.uniform(*RETRY_SECONDS), left))  # noqa: S311
        return False

    def _time_left(self) -> float:
        return float("inf") if self._deadline is None else self._deadline - time.monotonic()

    def _renew_until_stopped(self) -> None:
        pause = self.lease / 3
        while not self._stop.wait(pause) and not self.lost:
            pause = self._renew()
        try:
            self._gone |= not Lock.objects.release(self.row)
        except Error as error:
            logger.warning("lock %s not given back, it will expire: %s", self.row.name, error)

    def _renew(self) -> float:
        """Renew it; return after how many seconds to do so again."""
        begun = lifetime()
        try:
            if Lock.objects.renew(self.row, lease=self.lease):
                self._until = begun + self.lease
            else:
                self._gone = True
        except Error as error:
            logger.warning("lock %s not renewed, tried again: %s", self.row.name, error)
            connections.close_all()
            return self.lease / 12
        return self.lease / 3


class TransactionLockRenewer:
    """Holds a lock by the transaction that the caller is in, on SQLite.

    There one connection at a time may write, so another one could neither take the lock nor renew
    it before that transaction ends. For the same reason nobody else can take it: once the row is
    written, this transaction keeps everybody from writing, whatever the row says.
    """

    def __init__(self, row: Lock) -> None:
        self.row = row
        self.settled, self.ended = threading.Event(), threading.Event()
        self.error: Exception | None = None
        self.lost = False

    def start(self) -> None:
        """Take it, or not: who holds it cannot give it back while this transaction goes on."""
        if not Lock.objects.acquire(self.row, lease=app_settings.LEASE):
            self.error = LockTimeout(
                f"{Lock.objects.described(self.row.name)}, who cannot give it back before this "
                "transaction ends: SQLite has one writer at a time. Take the lock outside of it."
            )
        self.settled.set()

    def stop(self) -> None:
        """Delete the row, unless the transaction is about to be rolled back with it."""
        if self.error is None and not connections[router.db_for_write(Lock)].needs_rollback:
            Lock.objects.release(self.row)
        self.ended.set()
