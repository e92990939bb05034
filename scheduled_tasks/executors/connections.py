"""Protects others from a handler's database connections: open transactions, and locks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from scheduled_tasks.runtime.django_internals import open_blocks

logger = logging.getLogger(__name__)

#: The statuses ACTIVE, INTRANS and INERROR of libpq.
POSTGRESQL_IN_TRANSACTION = (1, 2, 3)


def drop_open_transactions() -> None:
    """Roll back transactions that a handler left open; later runs in this thread would join them.

    Django keeps the ``atomic`` state of a connection even when it is closed, so the connection
    object itself is replaced.
    """
    for connection in connections.all(initialized_only=True):
        # Without autocommit, any statement opens a transaction.
        manual = not connection.autocommit or in_transaction(connection)
        if connection.in_atomic_block or (is_open(connection) and manual):
            try:
                connection.close()
            except Exception:
                logger.exception("a connection of a run could not be closed; a new one follows")
            del connections[connection.alias]


def open_transactions() -> dict[str, int]:
    """Return how deep this thread is in transactions, by the alias of the database."""
    return {
        connection.alias: len(open_blocks(connection)) + in_transaction(connection)
        for connection in connections.all(initialized_only=True)
    }


def warn_of_open_transactions(before: Mapping[str, int]) -> None:
    """Log, as part of the run, on which databases its handler has left a transaction open."""
    for alias, depth in open_transactions().items():
        if depth > before.get(alias, 0):
            logger.warning(
                "The handler left a transaction open in the database %r. It is rolled back, with "
                "all that was written in it. Commit it, or use `with transaction.atomic():`.",
                alias,
            )


def in_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Whether a transaction is open, by what the driver says: BEGIN may have come as SQL."""
    raw: Any = connection.connection
    with suppress(Exception):  # a handler may have closed it, or replaced it
        if connection.vendor == "sqlite":
            return bool(raw.in_transaction)
        if connection.vendor == "postgresql":
            return raw.info.transaction_status in POSTGRESQL_IN_TRANSACTION
    return is_open(connection) and not connection.autocommit


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
