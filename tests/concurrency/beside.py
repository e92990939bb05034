"""What goes on beside a test, on a second connection."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from django.db import connection, connections


@contextmanager
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Do things in another thread, on a connection of its own."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            yield pool
        finally:
            pool.submit(connections.close_all).result()


def somebody_waits_for_a_lock() -> bool:
    """Say whether a connection to the test database does, by PostgreSQL's own account.

    It is asked anew each time, even within a transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])
