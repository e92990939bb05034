"""What we use of http.client that it does not document, by version of Python."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse, NotConnected
from ipaddress import IPv4Address
from typing import Any

import pytest

from scheduled_tasks.outgoing.connection import connection
from scheduled_tasks.outgoing.deadline import Deadline
from scheduled_tasks.outgoing.exchange import FinalResponse, exchange
from scheduled_tasks.outgoing.target import Target
from tests.outgoing.servers import serving

#: Before you add one, read HTTPConnection.send and getresponse, HTTPResponse.begin and read.
VERSIONS = [(3, 11), (3, 12), (3, 13)]


def test_python_is_a_version_whose_internals_were_read() -> None:
    assert sys.version_info[:2] in VERSIONS


def test_a_connection_uses_the_socket_it_is_given() -> None:
    with serving() as server:
        client = HTTPConnection("no.example", 1)
        client.sock = socket.create_connection(("127.0.0.1", server.port))
        with closing(client):
            client.request("GET", "/")
            assert client.getresponse().read() == b"hello"


def test_an_exchange_does_not_open_one_itself() -> None:
    no_socket: Any = None
    with serving() as server:
        target = Target.of(f"http://127.0.0.1:{server.port}/")
        with pytest.raises(NotConnected):
            exchange(no_socket, "GET", target, headers={}, body=None, max_bytes=1)
    assert server.connections == 0


def test_a_body_does_not_wait_for_acknowledgements() -> None:
    with serving() as server:
        target = Target.of(f"http://127.0.0.1:{server.port}/")
        with connection(target, [IPv4Address("127.0.0.1")], Deadline(5)) as sock:
            assert sock._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_response_reads_its_status_by_a_method() -> None:
    """It reads what it skips from ``fp``, as the status."""
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(interim + b"HTTP/1.1 204 No Content\r\n\r\n")
        with FinalResponse(ours, method="GET") as response:
            response.begin()
            assert response.status == 204


def test_a_connection_uses_the_given_response_class() -> None:
    with serving() as server:
        client = HTTPConnection("127.0.0.1", server.port)
        client.response_class = FinalResponse
        with closing(client):
            client.request("GET", "/")
            assert isinstance(client.getresponse(), FinalResponse)


def test_a_response_knows_what_is_missing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        theirs.shutdown(socket.SHUT_WR)
        with HTTPResponse(ours, method="GET") as response:
            response.begin()
            assert response.read(100) == b"abc"
            assert response.length == 7
