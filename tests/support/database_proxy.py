"""The proxy of the chaos tests, between the test database and those who go through it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from django.db import connection

from tests.chaos.proxy import CHUNK, Proxy, end
from tests.support.processes import database_url

NOWHERE = Path("/nowhere")


class ForgetfulProxy(Proxy):
    """A proxy that can forget connections, as firewalls do: both ends stay open, and hear nothing.

    New ones come about as ever.
    """

    def __init__(self, target: Path | tuple[str, int]) -> None:
        self._forgotten: set[socket.socket] = set()
        super().__init__(target)

    def forget(self) -> None:
        """Forget all connections that there are."""
        with self._changing:
            self._forgotten.update(side for pair in self._pairs for side in pair)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self._flowing.wait()
                if sink not in self._forgotten:
                    sink.sendall(data)
        self._flowing.wait()
        if sink not in self._forgotten:
            end((source, sink))


@contextmanager
def proxy_before_the_database() -> Iterator[ForgetfulProxy]:
    """Run a proxy before the test database."""
    parameters = connection.get_connection_params()
    host, port = parameters.get("host", "127.0.0.1"), int(parameters.get("port") or 5432)
    by_path = host.startswith("/")
    proxy = ForgetfulProxy(Path(host) / f".s.PGSQL.{port}" if by_path else (host, port))
    try:
        yield proxy
    finally:
        proxy.close()


@contextmanager
def through(proxy: Proxy) -> Iterator[None]:
    """Let the calling thread's connection go through the proxy meanwhile."""
    given = connection.settings_dict
    connection.close()
    connection.settings_dict = {**given, "HOST": "127.0.0.1", "PORT": str(proxy.port)}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = given


def url_through(proxy: Proxy) -> str:
    """Return the address of the test database for processes that go through the proxy."""
    parts = urlsplit(database_url())
    name = parts.path.rpartition("/")[2]
    user = parts.netloc.rpartition("@")[0]
    return f"{parts.scheme}://{user}@127.0.0.1:{proxy.port}/{name}"


@contextmanager
def outage(proxy: Proxy) -> Iterator[None]:
    """Break all connections, and refuse new ones meanwhile."""
    target, proxy.target = proxy.target, NOWHERE
    proxy.drop()
    try:
        yield
    finally:
        proxy.target = target
