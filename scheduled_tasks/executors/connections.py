"""What a handler's own database connections may do to others: stay open, or stand in the way."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)


def drop_open_transactions() -> None:
    """Roll back what a handler left open, or the runs after it in this thread would be part of it.

    Django keeps a connection inside ``atomic`` marked as such even when it is closed, so the
    connection itself is given up for a new one.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block or (is_open(connection) and not connection.autocommit):
            logger.warning("rolled back a transaction that a handler left open")
            connection.close()
            del connections[connection.alias]


@contextmanager
def unbroken_transactions() -> Iterator[None]:
    """Let what is called inside break no transaction of the caller's, as a TestCase has one.

    After a statement that the database has refused, a transaction is good for nothing more. What
    was done inside is rolled back then.
    """
    inside = [each for each in connections.all(initialized_only=True) if each.in_atomic_block]
    points = [(connection, connection.savepoint()) for connection in inside]
    try:
        yield
    finally:
        for connection, point in points:
            if point is not None:
                keep_or_roll_back(connection, point)


def keep_or_roll_back(connection: BaseDatabaseWrapper, point: str) -> None:
    """Release a savepoint; where the transaction is broken by now, go back to it."""
    try:
        connection.savepoint_commit(point)
    except Error:
        logger.warning("rolled back what a handler did, since it broke a transaction around it")
        connection.needs_rollback = False
        connection.savepoint_rollback(point)


def holds_the_only_write_lock() -> bool:
    """Say whether this thread is in a transaction on SQLite, which may let nobody else write.

    Waiting there until the worker has written something would be waiting for oneself.
    """
    return any(
        connection.vendor == "sqlite"
        and (connection.in_atomic_block or (is_open(connection) and not connection.autocommit))
        for connection in connections.all(initialized_only=True)
    )


def is_open(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None
