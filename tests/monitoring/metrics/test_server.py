"""A worker serves metrics from a thread, also while the database is away."""

from __future__ import annotations

import argparse
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from http.client import HTTPConnection, HTTPException

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from scheduled_tasks.management.commands.runscheduler import address
from scheduled_tasks.models import Task
from scheduled_tasks.monitoring.metrics import collector as metrics
from scheduled_tasks.monitoring.metrics.server import (
    MAX_CONNECTIONS,
    MAX_REQUEST_BYTES,
    MetricsServer,
    QuietHandler,
)
from tests.monitoring.metrics.exposed import parsed, value
from tests.support.attempts import NOTHING
from tests.support.processes import LONG, wait_until

Make = Callable[..., Task]

in_transactions = pytest.mark.django_db(transaction=True)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    metrics.exposition.clear()
    server = MetricsServer("127.0.0.1", 0)
    server.start()
    yield server
    server.stop()
    metrics.exposition.clear()


def ask(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@in_transactions
@pytest.mark.usefixtures("nothing")
def test_the_server_answers_prometheus(server: MetricsServer, make_task: Make) -> None:
    make_task("a", NOTHING)
    for path in ("/", "/metrics", "/metrics/"):
        status, text = ask(server.port, path)
        assert (status, value(parsed(text), "tasks", state="enabled")) == (200, 1)
    assert ask(server.port, method="HEAD") == (200, "")


def test_other_requests_are_refused(server: MetricsServer) -> None:
    assert ask(server.port, "/admin")[0] == 404
    assert ask(server.port, method="POST")[0] == 405


def closed(client: socket.socket) -> bool:
    """Whether the server has closed a connection, without an answer."""
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX-Tag: "])
@pytest.mark.parametrize("drop", [b"", b"a"])
def test_a_slow_client_is_left(
    server: MetricsServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    sent: bytes,
    drop: bytes,
) -> None:
    monkeypatch.setattr(QuietHandler, "timeout", 0.2)
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.01) as client:
        client.sendall(sent)

        def left() -> bool:
            with suppress(ConnectionError):
                client.sendall(drop)
            return closed(client)

        wait_until(left, within=LONG)
    assert capfd.readouterr().err == ""


def test_only_a_few_clients_are_served(server: MetricsServer) -> None:
    with ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            for _ in range(MAX_CONNECTIONS + 1)
        ]
        assert closed(clients.pop())
        clients.pop().close()
        wait_until(lambda: status_of(server.port) == 404, within=LONG)


def status_of(port: int) -> int | None:
    try:
        return ask(port, "/nowhere")[0]
    except (ConnectionError, HTTPException):
        return None


def test_a_client_without_thread_keeps_no_place(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        for _ in range(MAX_CONNECTIONS):
            assert status_of(server.port) is None
    assert status_of(server.port) == 404
    assert "can't start new thread" in capfd.readouterr().err


def test_a_request_has_a_limit(server: MetricsServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as client:
        # Nothing may be left unread: the system would then drop the answer.
        client.sendall(b"GET / HTTP/1.1\r\nX-Tag: ".ljust(MAX_REQUEST_BYTES + 1, b"a"))
        assert b" 431 " in client.recv(100)


def test_an_outage_is_answered_with_503(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(now: datetime) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(metrics, "measure", away)
    assert ask(server.port) == (503, metrics.UNAVAILABLE)


@pytest.mark.django_db
def test_a_port_in_use_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"cannot be served at 127.0.0.1:{port}: .*in use"):
            call_command("runscheduler", "--once", "--metrics-port", str(port))


@in_transactions
def test_the_port_is_free_after_the_command(nothing: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    call_command("runscheduler", "--once", "--no-sync", "--metrics-port", str(port))
    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
        ("[::]:80", ("::", 80)),
        ("localhost:65535", ("localhost", 65535)),
    ],
)
def test_addresses_that_are_accepted(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize("text", ["", "0", "65536", "http", "host:", "-1", "host", "²"])
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a port"):
        address(text)


def test_ipv6_is_served() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        server = MetricsServer("::1", 0)
    except OSError:
        pytest.skip("this machine has no loopback of IPv6")
    server.start()
    try:
        with socket.create_connection(("::1", server.port), timeout=30) as client:
            client.sendall(b"GET /nowhere HTTP/1.0\r\n\r\n")
            assert b"404" in client.recv(100)
    finally:
        server.stop()
