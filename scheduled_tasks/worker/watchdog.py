"""Ends what a worker would wait for without end: its database, or its own loop."""

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
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.sql.transactions import SHORTEST_LEASE

logger = logging.getLogger(__name__)

#: A watchdog looks so often in each lease.
CHECKS_PER_LEASE = 12
#: After so many looks in a row at one statement it cuts the connection, which is half a lease, and
#: more than a server that lives lets any statement take.
CUT_AFTER_CHECKS = 6
#: After so many, should that not have helped, it ends the process, within the lease.
EXIT_AFTER_CHECKS = 11
#: A loop hangs that has not come round for so many seconds, or for a lease where that is longer: in
#: a receiver of a signal, perhaps.
MAX_ROUND_SECONDS = 300.0
#: How long the log may take to hear why the process ends, in seconds.
MAX_LOGGING_SECONDS = 5.0
#: Connecting to an address may take a sixth of a lease, within these bounds in seconds.
MIN_CONNECT_SECONDS, MAX_CONNECT_SECONDS = 2, 10
#: What a worker exits with that could not be freed.
EXIT_CODE = 1


class Watchdog:
    """Watches the threads of a worker that must never wait for ever.

    A loop that notes its ``rounds`` has to come round, or the process ends: others would go on
    believing its heartbeat. Nor may anybody wait for the database without end. Behind a proxy a
    connection can go dead without a sign, and no keepalive notices. What waits on it is told that
    the server has gone, by shutting down the socket under it, and recovers as from any other
    outage. That is for PostgreSQL with psycopg 3 only: other drivers have options for it.
    """

    def __init__(self) -> None:
        self.rounds = Rounds()
        self._watched: list[WatchedConnection] = []
        self._changing = threading.Lock()
        self._callers = ExitStack()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch the calling thread, and begin to look, from a thread of its own."""
        self._callers.enter_context(self.watching())
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and wait for the thread; for the thread to call that called ``start``."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._callers.close()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the connections of the calling thread meanwhile, and bound their making."""
        with ExitStack() as stack:
            for connection in connections.all():
                if connection.vendor == "postgresql":
                    stack.enter_context(self.watched(connection))
            yield

    @contextmanager
    def watched(self, connection: BaseDatabaseWrapper) -> Iterator[None]:
        """Watch one connection of the calling thread meanwhile."""
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
        """Look once at each connection, and cut those that hang, and at the loop; or end it all."""
        with self._changing:
            all_watched = list(self._watched)
        for watched in all_watched:
            checks = watched.count_checks()
            if checks == CUT_AFTER_CHECKS:
                watched.cut()
                logger.error("the database has not answered for half a lease: connection cut")
            if checks >= EXIT_AFTER_CHECKS:
                end_process("waiting for the database cannot be ended")
        longest = max(MAX_ROUND_SECONDS, app_settings.LEASE)
        if self.rounds.count_checks() >= math.ceil(longest / check_interval()):
            end_process(f"the loop of this worker hangs, at\n{self.rounds.where}")

    def _run(self) -> None:
        while not self._stop.wait(check_interval()):
            self.check()


def check_interval() -> float:
    """Return how many seconds are between two looks."""
    return max(app_settings.LEASE, SHORTEST_LEASE) / CHECKS_PER_LEASE


def end_process(why: str) -> None:
    """Say why, unless that hangs as well, and end the process."""
    said = ("the process ends since %s", why)
    saying = threading.Thread(target=logger.critical, args=said, daemon=True)
    saying.start()
    saying.join(MAX_LOGGING_SECONDS)
    os._exit(EXIT_CODE)


class Rounds:
    """How often a loop has come round, and how many looks in a row have found it in one round."""

    def __init__(self) -> None:
        self._begun = 0
        self._seen = 0
        self._checks = 0
        self._thread = 0

    def begin(self) -> None:
        """Note that the loop of the calling thread begins another round."""
        self._thread = threading.get_ident()
        self._begun += 1

    def count_checks(self) -> int:
        """Return how many looks ago the present round was first seen; 0 before the first."""
        same = self._begun and self._begun == self._seen
        self._checks = self._checks + 1 if same else 0
        self._seen = self._begun
        return self._checks

    @property
    def where(self) -> str:
        """Return what the loop does, as the stack of its thread."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 -- the way to it
        return "".join(traceback.format_stack(frame)) if frame else ""


class WatchedConnection:
    """One connection of a thread, and how many looks in a row have found it at one statement.

    Looks are counted and not seconds, so that a process that was frozen is not taken for one that
    waits.
    """

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection: Any = connection  # whose driver is in no type
        self._statements = 0
        self._seen: tuple[Any, int] | None = None
        self._checks = 0

    def count(self, execute: Callable[..., Any], *statement: Any) -> Any:
        """Execute a statement, and tell it from the one before."""
        self._statements += 1
        return execute(*statement)

    def count_checks(self) -> int:
        """Return how many looks ago the statement was first seen that is in progress, else 0."""
        doing = self.statement_in_progress()
        self._checks = self._checks + 1 if doing is not None and doing == self._seen else 0
        self._seen = doing
        return self._checks

    def statement_in_progress(self) -> tuple[Any, int] | None:
        """Return libpq's connection and the number of the statement in progress, if one is.

        The COMMIT that follows a statement counts as part of it.
        """
        libpq = getattr(self.connection.connection, "pgconn", None)
        if libpq is None:
            return None
        active = self.connection.Database.pq.TransactionStatus.ACTIVE
        return (libpq, self._statements) if libpq.transaction_status == active else None

    def cut(self) -> None:
        """Break the connection under the statement that was seen, if that is still in progress."""
        if self._seen is None:
            return
        libpq, _ = self._seen
        # A second number for the same socket, which its thread cannot close and give to another.
        with (
            suppress(OSError, self.connection.Database.Error),
            socket.socket(fileno=os.dup(libpq.socket)) as line,
        ):
            if self.statement_in_progress() == self._seen:
                line.shutdown(socket.SHUT_RDWR)


@contextmanager
def connecting_bounded(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Bound how long this one connection takes to be made, where the project does not say."""
    given = connection.settings_dict
    if "PGCONNECT_TIMEOUT" not in os.environ:
        seconds = min(max(round(app_settings.LEASE / 6), MIN_CONNECT_SECONDS), MAX_CONNECT_SECONDS)
        options = {"connect_timeout": seconds} | given["OPTIONS"]
        connection.settings_dict = {**given, "OPTIONS": options}
    try:
        yield
    finally:
        connection.settings_dict = given
