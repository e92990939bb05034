"""The thread that wakes a worker when PostgreSQL notifies it of new work."""

from __future__ import annotations

import logging
import random
import secrets
import socket
import threading
from collections.abc import Callable
from time import monotonic
from typing import NoReturn

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.sql.notify import WAKE, notify
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.worker.listen_connection import ListenConnection, can_listen, listen, unlisten

logger = logging.getLogger(__name__)

#: Seconds between two verifications that notifications arrive, and the longest that one takes.
VERIFY_SECONDS, MAX_VERIFY_SECONDS = 60.0, 5.0
#: Notifications within this time wake the worker once.
MIN_WAKE_SECONDS = 0.02
#: While it does not listen it tries again; waits grow from the first to the second.
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.5, 300.0
#: How long a stopping worker waits for this thread, which may be connecting.
MAX_STOP_SECONDS = 1.0


class NotNotifiedError(Exception):
    """A notification sent on one connection does not arrive on another."""

    def __str__(self) -> str:
        """Return a message with a hint."""
        if app_settings.LISTEN_DSN:
            advice = "Is SCHEDULED_TASKS['LISTEN_DSN'] the address of the same database?"
        else:
            advice = (
                "Behind a pooler, set SCHEDULED_TASKS['LISTEN_DSN'] to the address of PostgreSQL "
                "itself."
            )
        return f"its own notification did not arrive. {advice}"


class Listener:
    """Calls ``on_wake``, from a thread of its own, when there is new work.

    A connection can look healthy and deliver nothing, behind a pooler for example. So about once a
    minute the thread sends a notification in the way that the engine does. While the last one has
    arrived, ``verified`` is true. Otherwise the worker depends on polling, as it does on all
    databases but PostgreSQL, and one warning gives the reason.

    ``on_wake`` is also called when ``verified`` changes, because notifications may have been
    missed.
    """

    def __init__(self, on_wake: Callable[[], None]) -> None:
        self.on_wake = on_wake
        self._using = ""
        self._verified_until = 0.0
        self._failures = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def verified(self) -> bool:
        """Whether notifications arrive; it expires, since the thread may wait for ever."""
        return monotonic() < self._verified_until

    def start(self) -> None:
        """Start the thread where the database can notify."""
        self._using = write_alias()
        if not can_listen(self._using):
            return
        self._interrupt, self._interrupted = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and do not wait long for it."""
        self._stop.set()
        if self._thread is not None:
            # The other end becomes readable, which ends the wait for messages.
            self._interrupt.close()
            self._thread.join(timeout=MAX_STOP_SECONDS)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    with listen(self._using, interruption=self._interrupted) as connection:
                        self._listen(connection)
                except Exception as error:  # noqa: BLE001 -- whatever it is, polling goes on
                    self._fail(error)
        finally:
            self._verified_until = 0.0
            self._interrupted.close()

    def _listen(self, connection: ListenConnection) -> None:
        """Receive until stopped. Raise NotNotifiedError when notifications do not arrive."""
        while not self._stop.is_set():
            if self._verify(connection):
                self._mark_verified()
                self._receive(connection, VERIFY_SECONDS)
            elif not self._stop.is_set():
                self._give_up(connection)

    def _give_up(self, connection: ListenConnection) -> NoReturn:
        """Raise: the connection is dead, or has never worked."""
        if self._verified_until:  # even in the past: this connection has worked
            raise ConnectionError("its connection has died without an error.")
        unlisten(self._using, connection.backend)
        raise NotNotifiedError

    def _verify(self, connection: ListenConnection) -> bool:
        """Send a message as the engine does. Return whether this connection receives it."""
        token = secrets.token_hex()
        notify(self._using, token)
        # It is needed once a minute, so it is not kept open.
        connections[self._using].close()
        return self._receive(connection, MAX_VERIFY_SECONDS, until=token)

    def _receive(
        self, connection: ListenConnection, seconds: float, *, until: str | None = None
    ) -> bool:
        """Wake the worker when notified; stop at a message, and return whether it came."""
        end = monotonic() + seconds
        while not self._stop.is_set() and (left := end - monotonic()) > 0:
            messages = connection.receive(left)
            if WAKE in messages:
                self.on_wake()
            if until in messages:
                return True
            if messages:
                self._stop.wait(MIN_WAKE_SECONDS)
        return False

    def _mark_verified(self) -> None:
        was_verified = self.verified
        self._verified_until = monotonic() + VERIFY_SECONDS + 2 * MAX_VERIFY_SECONDS
        if not was_verified:
            logger.info("worker is notified of new work")
            self._failures = 0
            self.on_wake()

    def _fail(self, error: Exception) -> None:
        """Log the first of several failures, and wait until it is time to try again."""
        self._verified_until = 0.0
        connections[self._using].close()
        if self._stop.is_set():
            return
        if not self._failures:
            logger.warning("worker finds new work by polling only: %s", error)
            self.on_wake()
        longest = MAX_RETRY_SECONDS
        if not isinstance(error, NotNotifiedError):  # which only a new configuration can fix
            longest = min(MIN_RETRY_SECONDS * 2.0 ** min(self._failures, 30), MAX_RETRY_SECONDS)
        self._failures += 1
        # At random, so that all workers do not reconnect together when the server is back.
        self._stop.wait(longest * random.uniform(0.5, 1))  # noqa: S311
