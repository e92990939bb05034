"""What processes and databases use, and what marks tell."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import django
import psutil
from django.db import DatabaseError, connection

from benchmarks.marks import Mark

MEGABYTE = 1 << 20
#: The first and the last tenth of the jobs do not count: workers start and run dry there.
COUNTED = (0.1, 0.9)
FEWEST_MARKS = 20


class NotMeasuredError(Exception):
    """There is no figure; the message says why, in the table."""


def cpu_seconds(roots: Iterable[psutil.Process]) -> float:
    """Return what processes and all that descend from them have used, the dead included."""
    total = 0.0
    for process in families(roots):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            # What ended children have used is in the sums of whoever waited for them.
            total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_mb(roots: Iterable[psutil.Process]) -> float:
    """Return the memory of processes and all that descend from them, in MB.

    A page that several processes share counts in parts, where the system can tell.
    """
    total = 0.0
    for process in families(roots):
        with suppress(psutil.NoSuchProcess):
            held = process.memory_full_info()
            total += getattr(held, "pss", held.rss)
    return total / MEGABYTE


def families(roots: Iterable[psutil.Process]) -> Iterator[psutil.Process]:
    """Yield processes, and all that descend from them."""
    for root in roots:
        yield root
        with suppress(psutil.NoSuchProcess):
            yield from root.children(recursive=True)


def database_processes() -> list[psutil.Process]:
    """Return the root of the database's processes, nothing where it is on another machine."""
    if connection.vendor == "postgresql":
        with suppress(psutil.Error), connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = psutil.Process(cursor.fetchone()[0])
            parent = backend.parent()
            if "postgres" in backend.name() and parent is not None:
                return [parent]
    return []


#: How to count what a PostgreSQL is asked, by what is counted.
COUNTS = {
    "queries/s": (
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements "
        "JOIN pg_database ON oid = dbid WHERE datname = current_database() "
        "AND query !~* '^(begin|commit|rollback|savepoint|release)'"
    ),
    "transactions/s": (
        "SELECT xact_commit + xact_rollback FROM pg_stat_database "
        "WHERE datname = current_database()"
    ),
}


def asked_up_to_now() -> dict[str, float]:
    """Return how much the database was asked, by what can be counted.

    Queries, where PostgreSQL has pg_stat_statements loaded, otherwise its transactions.
    """
    if connection.vendor != "postgresql":
        return {}
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    for counted, query in COUNTS.items():
        with suppress(DatabaseError), connection.cursor() as cursor:
            cursor.execute(query)
            return {counted: float(cursor.fetchone()[0])}
    return {}


def rate(marks: Sequence[Mark]) -> float:
    """Return how many jobs began in a second, without those at the beginning and the end.

    Raise NotMeasuredError if there are too few of them.
    """
    if len(marks) < FEWEST_MARKS:
        raise NotMeasuredError(f"a rate takes at least {FEWEST_MARKS} jobs")
    first, last = (int(len(marks) * share) for share in COUNTED)
    return (last - 1 - first) / (marks[last - 1].begun - marks[first].begun)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that the given share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def describe_machine() -> dict[str, str]:
    """Say where the figures come from."""
    return {
        "machine": f"{os.cpu_count()} cores, {psutil.virtual_memory().total >> 30} GB",
        "database": describe_database(),
        "python": platform.python_version(),
        "django": django.get_version(),
    }


def describe_database() -> str:
    """Name the database, and how well it keeps what it is told."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sqlite_version()")
            return f"SQLite {cursor.fetchone()[0]}, WAL, synchronous=NORMAL"
        cursor.execute(
            "SELECT split_part(current_setting('server_version'), ' ', 1), "
            "current_setting('fsync'), current_setting('synchronous_commit')"
        )
        version, fsync, commit = cursor.fetchone()
        return f"PostgreSQL {version}, fsync {fsync}, synchronous_commit {commit}"
