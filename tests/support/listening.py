"""A listener with counted calls, and addresses for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks.worker.listener import Listener
from tests.support.processes import LONG, wait_until


class Heard:
    """A listener, and how often it has called ``on_wake``."""

    def __init__(self) -> None:
        self.times = 0
        self.listener = Listener(on_wake=self.count)

    def count(self) -> None:
        """Count one call."""
        self.times += 1

    def is_verified(self) -> bool:
        """Whether notifications arrive."""
        return self.listener.verified

    @property
    def thread(self) -> threading.Thread:
        """Return its thread."""
        assert self.listener._thread is not None
        return self.listener._thread


@contextmanager
def listening() -> Iterator[Heard]:
    """Listen in the block, and leave no thread behind."""
    heard = Heard()
    heard.listener.start()
    try:
        yield heard
    finally:
        heard.listener.stop()
        heard.thread.join(timeout=LONG)
        assert not heard.thread.is_alive()


@contextmanager
def listening_well() -> Iterator[Heard]:
    """Listen in the block, which begins when notifications arrive."""
    with listening() as heard:
        wait_until(heard.is_verified, within=LONG)
        heard.times = 0
        yield heard


def needs_postgresql() -> None:
    """Skip the test on other databases."""
    if connection.vendor != "postgresql":
        pytest.skip("Only PostgreSQL can notify; on other databases workers poll.")


def address(**changes: Any) -> str:
    """Return a LISTEN_DSN for the test database, with changes."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 -- only where it is installed

    known = ("dbname", "user", "password", "host", "port")
    given = connection.get_connection_params()
    return make_conninfo(**{key: given[key] for key in known if key in given} | changes)


def end_the_listening_connection() -> int:
    """Terminate the listening connections on the server; return the count."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'scheduled-tasks listener'"
        )
        (ended,) = cursor.fetchone()
    return int(ended)
