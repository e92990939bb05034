"""What a handler may leave behind in the thread or process that it ran in."""

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
