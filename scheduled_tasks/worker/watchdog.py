"""Ends waits that would never end: for the database, or for the worker's own loop."""

from __future__ import annotations

import logging
import math
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.sql.transactions import MIN_LEASE

logger = logging.getLogger(__name__)

#: Checks in each lease.
CHECKS_PER_LEASE = 12
#: A connection is cut after this many checks in a row find the same statement in progress. That is
#: half a lease, and longer than the statement timeout of a server that works.
CUT_AFTER_CHECKS = 6
#: If the cut does not help, the process is ended after this many checks, still within the lease.
EXIT_AFTER_CHECKS = 11
#: A loop hangs if one round takes longer than this, or than a lease where that is longer. A likely
#: cause is a receiver of a signal.
MAX_ROUND_SECONDS = 300.0
#: How long logging the reason may delay the end of the process.
MAX_LOGGING_SECONDS = 5.0
#: Connecting may take a sixth of a lease, within these bounds.
MIN_CONNECT_SECONDS, MAX_CONNECT_SECONDS = 2, 10
#: The exit status of a process that the watchdog ends.
EXIT_CODE = 1


class Watchdog:
    """Watches the threads of a worker, which must never wait for ever.

    - The loop counts its ``rounds``. If a round takes too long, the process is ended, because
      other workers would go on to trust its heartbeat.
    - A connection through a proxy can die without an error, and keepalives do not notice. The
      watchdog shuts down its socket. The thread that waits gets an error as in any outage, and
      recovers. This is for PostgreSQL with psycopg 3 only; other drivers have options for it.
    """

    def __init__(self) -> None:
        self.rounds = Rounds()
        #: The rounds of two threads. Liveness files tell about them, nothing else.
        self.beats = Rounds()
        self.scans = Rounds()
        self._watched: list[WatchedConnection] = []
        self._changing = threading.Lock()
        self._callers = ExitStack()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch the calling thread, and start the thread that checks."""
        self._callers.enter_context(self.watching())
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for it; call it in the thread that called ``start``."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._callers.close()

    @contextmanager
    def watching(self, rounds: Rounds | None = None) -> Iterator[None]:
        """Watch the connections of the calling thread in the block; set a connect timeout.

        Each statement shows that the loop of the thread is active; ``rounds`` are by default those
        of the main loop.
        """
        active = (rounds or self.rounds).execute
        with ExitStack() as stack:
            for connection in connections.all():
                stack.enter_context(connection.execute_wrapper(active))
                if connection.vendor == "postgresql":
                    stack.enter_context(self.watched(connection))
            yield

    @contextmanager
    def watched(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Watch one connection of the calling thread in the block."""
        watched = WatchedConnection(connection)
        with connecting_bounded(connection), connection.execute_wrapper(watched.count):
            with self._changing:
                self._watched.append(watched)
            try:
                yield
            finally:
                with self._changing:
                    self._watched.remove(watched)

    def check(self) -> None:
        """Check each connection and the loop once; cut connections, or end the process."""
        with self._changing:
            all_watched = list(self._watched)
        for watched in all_watched:
            checks = watched.count_checks()
            if checks == CUT_AFTER_CHECKS:
                watched.cut()
                logger.error("the database has not answered for half a lease: connection cut")
            if checks >= EXIT_AFTER_CHECKS:
                end_process("a wait for the database cannot be ended")
        if self.rounds.count_checks() >= math.ceil(longest_round() / check_interval()):
            end_process(f"the loop of this worker hangs at\n{self.rounds.where}")

    def _run(self) -> None:
        while not self._stop.wait(check_interval()):
            self.check()


def check_interval() -> float:
    """Return the seconds between two checks."""
    return max(app_settings.LEASE, MIN_LEASE) / CHECKS_PER_LEASE


def longest_round() -> float:
    """Return the seconds after which a loop that is still in the same round hangs."""
    return max(MAX_ROUND_SECONDS, app_settings.LEASE)


def end_process(reason: str) -> None:
    """Log the reason, unless logging hangs as well, and end the process."""
    message = ("the process ends: %s", reason)
    logging_thread = threading.Thread(target=logger.critical, args=message, daemon=True)
    logging_thread.start()
    logging_thread.join(MAX_LOGGING_SECONDS)
    # sys.exit() would only end this thread.
    os._exit(EXIT_CODE)


class Rounds:
    """Counts the rounds of a loop, and the checks that find it in the same round."""

    def __init__(self) -> None:
        self._begun = 0
        self._seen = 0
        self._checks = 0
        self._thread = 0
        #: When the loop last began a round or executed a statement, by the monotonic clock.
        self.active_at: float | None = None

    def begin(self) -> None:
        """Count another round, in the thread of the loop."""
        self._thread = threading.get_ident()
        self._begun += 1
        self.active_at = monotonic()

    def execute(self, execute: Callable[..., Any], *statement: Any) -> Any:
        """Execute a statement of the loop. A long round that does so is active."""
        self.active_at = monotonic()
        return execute(*statement)

    def count_checks(self) -> int:
        """Count a check; return how many checks ago the present round was first seen."""
        same = self._begun and self._begun == self._seen
        self._checks = self._checks + 1 if same else 0
        self._seen = self._begun
        return self._checks

    @property
    def where(self) -> str:
        """The stack of the thread of the loop, as text."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 -- the only way to it
        return "".join(traceback.format_stack(frame)) if frame else ""


class WatchedConnection:
    """A connection of a thread; counts the checks that find the same statement in progress.

    It counts checks and not seconds, so that a process that was frozen does not seem to hang.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection: Any = connection  # the type says nothing of its driver
        self._statements = 0
        self._seen: tuple[Any, int] | None = None
        self._checks = 0

    def count(self, execute: Callable[..., Any], *statement: Any) -> Any:
        """Execute a statement and count it."""
        self._statements += 1
        return execute(*statement)

    def count_checks(self) -> int:
        """Count a check; return how many checks ago the present statement was first seen, or 0."""
        statement = self.statement_in_progress()
        self._checks = self._checks + 1 if statement is not None and statement == self._seen else 0
        self._seen = statement
        return self._checks

    def statement_in_progress(self) -> tuple[Any, int] | None:
        """Return libpq's connection and the number of the statement in progress, or None.

        A COMMIT counts as part of the statement before it.
        """
        libpq = getattr(self.connection.connection, "pgconn", None)
        if libpq is None:
            return None
        active = self.connection.Database.pq.TransactionStatus.ACTIVE
        return (libpq, self._statements) if libpq.transaction_status == active else None

    def cut(self) -> None:
        """Shut down the socket if the statement seen by the last check is still in progress."""
        if self._seen is None:
            return
        libpq, _ = self._seen
        # A duplicate of the descriptor: the thread may close the original, and reuse its number.
        with (
            suppress(OSError, self.connection.Database.Error),
            socket.socket(fileno=os.dup(libpq.socket)) as line,
        ):
            if self.statement_in_progress() == self._seen:
                line.shutdown(socket.SHUT_RDWR)


@contextmanager
def connecting_bounded(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Set a connect timeout in the block, unless the project has set one."""
    given = connection.settings_dict
    if "PGCONNECT_TIMEOUT" not in os.environ:
        seconds = min(max(round(app_settings.LEASE / 6), MIN_CONNECT_SECONDS), MAX_CONNECT_SECONDS)
        options = {"connect_timeout": seconds} | given["OPTIONS"]
        connection.settings_dict = {**given, "OPTIONS": options}
    try:
        yield
    finally:
        connection.settings_dict = given
