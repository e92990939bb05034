"""The proxy: it forwards, holds what is sent until it is let go, and ends connections."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.proxy import Proxy


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    """Return a proxy before a server that sends back what it gets."""
    path = tmp_path / "server"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    echo = threading.Thread(target=serve, args=[listener])
    echo.start()
    proxy = Proxy(path)
    yield proxy
    proxy.close()
    echo.join()
    listener.close()


def serve(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)


def test_data_is_held_until_it_is_let_go(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        proxy.hold()
        client.sendall(b"two")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        client.settimeout(None)
        proxy.let_go()
        assert client.recv(100) == b"two"


def test_it_drops_connections(proxy: Proxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        assert proxy.drop() == 1
        assert client.recv(100) == b""
