"""A separate connection to PostgreSQL that listens on the channel of the workers."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models.sql.notify import CHANNEL

if TYPE_CHECKING:
    import psycopg

#: Options of libpq, unless LISTEN_DSN gives others; times in seconds. Keepalives also keep routers
#: from dropping a connection that is silent for hours.
DEFAULTS = {
    "application_name": "scheduled-tasks listener",
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
#: Options of psycopg.
OWN_PARAMETERS = {
    # PostgreSQL delivers notifications only between transactions.
    "autocommit": True,
    # Behind a pooler, the next statement may reach a process that has not prepared it.
    "prepare_threshold": None,
}
#: How many server processes of a pooler are looked through for the one that still listens.
MAX_BORROWED = 20
#: Seconds until the server ends a transaction that keeps one of them from other clients.
MAX_BORROWED_SECONDS = 1
#: Parameters of Django's connections that do not apply to this one.
NOT_SHARED = ("context", "cursor_factory")


class ListenConnection:
    """A connection that listens; ``interruption`` is a socket whose other end stops its wait.

    ``backend`` is the process id on the server. A pooler may lend that process to other clients.
    """

    def __init__(self, connection: psycopg.Connection[Any], interruption: socket.socket) -> None:
        self.connection = connection
        self.selector = selectors.DefaultSelector()
        self.selector.register(connection.fileno(), selectors.EVENT_READ)
        self.selector.register(interruption, selectors.EVENT_READ)
        with connection.transaction():  # or a pooler may send the two to different processes
            connection.execute(f"LISTEN {CHANNEL}".encode())
            answer = connection.execute("SELECT pg_backend_pid()").fetchone()
        self.backend = answer[0] if answer else 0

    def receive(self, seconds: float) -> list[str]:
        """Wait for messages, at most these seconds or until interrupted, and return them.

        Raise psycopg's OperationalError when the connection is broken.
        """
        if self.selector.select(seconds):
            # Not connection.notifies(), which would not wait for the other socket, too.
            self.connection.pgconn.consume_input()
        messages = []
        while notification := self.connection.pgconn.notifies():
            messages.append(notification.extra.decode())
        return messages


@contextmanager
def listen(using: str, *, interruption: socket.socket) -> Iterator[ListenConnection]:
    """Open a connection that listens, to LISTEN_DSN or to the database of that alias.

    Raise InvalidSettings if LISTEN_DSN is not valid. Errors of psycopg propagate.
    """
    import psycopg  # noqa: PLC0415 -- an extra that other databases do not need

    with psycopg.connect(**parameters(using)) as connection:
        listening = ListenConnection(connection, interruption)
        try:
            yield listening
        finally:
            listening.selector.close()


def unlisten(using: str, backend: int) -> None:
    """End LISTEN in a server process that a pooler has lent to other clients by now.

    Their connections do not read notifications, so these would pile up for ever. Poolers lend the
    process that came back last, so each process that is not the one meant is kept until it is
    found.
    """
    end = monotonic() + MAX_BORROWED_SECONDS
    with ExitStack() as borrowed:
        for _ in range(MAX_BORROWED):
            connection = borrowed.enter_context(transaction_on(using))
            connection.execute(f"UNLISTEN {CHANNEL}".encode())
            answer = connection.execute("SELECT pg_backend_pid()").fetchone()
            if answer == (backend,) or monotonic() > end:
                break


@contextmanager
def transaction_on(using: str) -> Iterator[psycopg.Connection[Any]]:
    """Open a connection like that which listens, in a transaction; commit whatever happens later.

    The server ends it soon, because workers that start together may wait for each other's.
    """
    import psycopg  # noqa: PLC0415 -- likewise

    connection = psycopg.connect(**parameters(using) | {"autocommit": False})
    with suppress(psycopg.Error), connection:
        connection.execute(
            f"SET LOCAL idle_in_transaction_session_timeout = '{MAX_BORROWED_SECONDS}s'".encode()
        )
        yield connection


def can_listen(using: str) -> bool:
    """Whether that alias is a PostgreSQL database, used through psycopg 3."""
    if connections[using].vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # noqa: PLC0415 -- likewise

    return is_psycopg3


def parameters(using: str) -> dict[str, Any]:
    """Return the connection parameters: LISTEN_DSN if given, else those of Django."""
    from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 -- likewise

    if not app_settings.LISTEN_DSN:
        given = connections[using].get_connection_params()
        shared = {key: given[key] for key in given if key not in NOT_SHARED}
        return DEFAULTS | shared | OWN_PARAMETERS
    try:
        return DEFAULTS | conninfo.conninfo_to_dict(app_settings.LISTEN_DSN) | OWN_PARAMETERS
    except ProgrammingError:  # its text quotes the address, which may hold a password
        raise InvalidSettings(
            "SCHEDULED_TASKS['LISTEN_DSN'] is not a valid PostgreSQL address."
        ) from None
