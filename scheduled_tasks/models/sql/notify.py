"""Notify sleeping workers of new work."""

from __future__ import annotations

import logging
from functools import partial

from django.db import Error, connections, transaction

logger = logging.getLogger(__name__)

#: PostgreSQL's name for what the workers of a database listen to.
CHANNEL = "scheduled_tasks"
#: The message that wakes workers; any other is a test message of a listener.
WAKE = ""


def wake_workers(using: str) -> None:
    """Wake all workers once the transaction has committed.

    A worker that cannot be notified finds the work at its next poll.
    """
    # Not within the transaction: transactions that notify commit one after the other, and fail when
    # the server's queue of notifications is full.
    if connections[using].vendor == "postgresql":
        transaction.on_commit(partial(try_to_notify, using), using=using)


def try_to_notify(using: str) -> None:
    """Notify the workers; log a failure, since the work itself is committed."""
    try:
        notify(using, WAKE)
    except Error as error:
        logger.warning("workers could not be woken, they find new work by polling: %s", error)


def notify(using: str, message: str) -> None:
    """Send a message to all listeners. Raise what the database raises."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, message])
