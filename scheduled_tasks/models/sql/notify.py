"""Wake: workers that sleep are told at once that there is something to do."""

from __future__ import annotations

import logging
from functools import partial

from django.db import Error, connections, transaction

logger = logging.getLogger(__name__)

#: PostgreSQL's name for what the workers of a database listen to.
CHANNEL = "scheduled_tasks"
#: What wakes; any other message is a worker's proof that it hears.
WAKE = ""


def wake_workers(using: str) -> None:
    """Have all workers look for work once the transaction has committed, where they can be told.

    After the commit and not with it: PostgreSQL commits transactions that notify only one after
    the other, and none while its queue of notifications is full. Whom it does not reach looks by
    itself at the next poll.
    """
    if connections[using].vendor == "postgresql":
        transaction.on_commit(partial(try_to_notify, using), using=using)


def try_to_notify(using: str) -> None:
    """Wake the workers; what failed is logged, since what it was about is committed."""
    try:
        notify(using, WAKE)
    except Error as error:
        logger.warning("workers could not be woken, they find new work by polling: %s", error)


def notify(using: str, message: str) -> None:
    """Send a message to all who listen. Raise what the database raises."""
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, message])
