"""Protects others from a handler's database connections: open transactions, and locks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger(__name__)


def drop_open_transactions() -> None:
    """Roll back transactions that a handler left open; later runs in this thread would join them.

    Django keeps the ``atomic`` state of a connection even when it is closed, so the connection
    object itself is replaced.
    """
    for connection in connections.all(initialized_only=True):
        # Without autocommit, any statement opens a transaction.
        if connection.in_atomic_block or (is_open(connection) and not connection.autocommit):
            logger.warning("rolled back a transaction that a handler left open")
            connection.close()
            del connections[connection.alias]


@contextmanager
def unbroken_transactions() -> Iterator[None]:
    """Keep the caller's transactions usable, such as that of a TestCase.

    A transaction accepts no more statements after one that the database has refused. In that case
    the changes made inside this block are rolled back.
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
    """Release a savepoint; roll back to it if the transaction is broken."""
    try:
        connection.savepoint_commit(point)
    except Error:
        logger.warning(
            "rolled back the changes of a handler that broke the surrounding transaction"
        )
        # While it is set, Django refuses every statement, the rollback to the savepoint included.
        connection.needs_rollback = False
        connection.savepoint_rollback(point)


def holds_the_only_write_lock() -> bool:
    """Whether this thread is in a transaction on SQLite, which may block all other writers.

    Waiting there for the worker to write something would be a deadlock.
    """
    return any(
        connection.vendor == "sqlite"
        and (connection.in_atomic_block or (is_open(connection) and not connection.autocommit))
        for connection in connections.all(initialized_only=True)
    )


def is_open(connection: BaseDatabaseWrapper) -> bool:
    return connection.connection is not None
