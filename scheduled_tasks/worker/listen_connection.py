"""A connection of its own to PostgreSQL that hears what is notified on the channel of workers."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.db import connections

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models.sql.notify import CHANNEL

if TYPE_CHECKING:
    import psycopg

#: Options of libpq and psycopg; times in seconds. Keepalives also stop routers on the way from
#: forgetting a connection on which nothing is said for hours.
OWN_PARAMETERS = {
    "application_name": "scheduled-tasks listener",
    "autocommit": True,
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "prepare_threshold": None,
}
#: What Django says of its own connections only.
NOT_SHARED = ("context", "cursor_factory")


class ListenConnection:
    """A connection that listens, and a socket that ends its waiting.

    ``backend`` is the server's process that listens; a pooler may lend it to others later.
    """

    def __init__(self, connection: psycopg.Connection[Any], interruption: socket.socket) -> None:
        self.connection = connection
        self.selector = selectors.DefaultSelector()
        self.selector.register(connection.fileno(), selectors.EVENT_READ)
        self.selector.register(interruption, selectors.EVENT_READ)
        with connection.transaction():  # so that no pooler gives parts of it to two processes
            connection.execute(f"LISTEN {CHANNEL}".encode())
            answer = connection.execute("SELECT pg_backend_pid()").fetchone()
        self.backend = answer[0] if answer else 0

    def receive(self, seconds: float) -> list[str]:
        """Wait so long at most, or until it is interrupted; return the messages that have come.

        Raise psycopg's OperationalError once the connection is broken.
        """
        if self.selector.select(seconds):
            self.connection.pgconn.consume_input()
        messages = []
        while notification := self.connection.pgconn.notifies():
            messages.append(notification.extra.decode())
        return messages


@contextmanager
def listen(using: str, *, interruption: socket.socket) -> Iterator[ListenConnection]:
    """Listen on a connection to the database of that alias, or to LISTEN_DSN, while it is needed.

    Raise InvalidSettings if LISTEN_DSN cannot be read, what psycopg raises if nobody answers.
    """
    import psycopg  # noqa: PLC0415 -- an extra, which other databases do without

    with psycopg.connect(**parameters(using)) as connection:
        listening = ListenConnection(connection, interruption)
        try:
            yield listening
        finally:
            listening.selector.close()


def can_listen(using: str) -> bool:
    """Say whether that alias is a PostgreSQL to which Django talks by psycopg 3."""
    if connections[using].vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3  # noqa: PLC0415 -- likewise

    return is_psycopg3


def parameters(using: str) -> dict[str, Any]:
    """Return what to connect with: Django's own parameters unless LISTEN_DSN is given."""
    from psycopg import ProgrammingError, conninfo  # noqa: PLC0415 -- likewise

    if not app_settings.LISTEN_DSN:
        given = connections[using].get_connection_params()
        return {key: given[key] for key in given if key not in NOT_SHARED} | OWN_PARAMETERS
    try:
        return conninfo.conninfo_to_dict(app_settings.LISTEN_DSN) | OWN_PARAMETERS
    except ProgrammingError:  # whose text quotes the address, and with it perhaps a password
        raise InvalidSettings(
            "SCHEDULED_TASKS['LISTEN_DSN'] is no address that PostgreSQL understands."
        ) from None
