"""What a handler's own database connections may do to others: stay open, or stand in the way."""

from __future__ import annotations

import logging

from django.db import connections

logger = logging.getLogger(__name__)


def drop_open_transactions() -> None:
    """Roll back what a handler left open, or the runs after it in this thread would be part of it.

    Django keeps a connection inside ``atomic`` marked as such even when it is closed, so the
    connection itself is given up for a new one.
    """
    for connection in connections.all(initialized_only=True):
        is_open = connection.connection is not None
        if connection.in_atomic_block or (is_open and not connection.autocommit):
            logger.warning("rolled back a transaction that a handler left open")
            connection.close()
            del connections[connection.alias]


def holds_the_only_write_lock() -> bool:
    """Say whether this thread is in a transaction on SQLite, which may let nobody else write.

    Waiting there until the worker has written something would be waiting for oneself.
    """
    return any(
        connection.vendor == "sqlite" and connection.in_atomic_block
        for connection in connections.all(initialized_only=True)
    )
