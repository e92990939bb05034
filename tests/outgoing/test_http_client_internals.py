"""What we use of http.client that it does not document, by version of Python."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse, NotConnected

import pytest

from tests.outgoing.servers import serving

#: Before you add one, read HTTPConnection.send, HTTPConnection.getresponse and HTTPResponse.read.
VERSIONS = [(3, 11), (3, 12), (3, 13)]


def test_python_is_a_version_whose_internals_were_read() -> None:
    assert sys.version_info[:2] in VERSIONS


def test_a_connection_uses_the_socket_it_is_given() -> None:
    with serving() as server:
        connection = HTTPConnection("no.example", 1)
        connection.sock = socket.create_connection(("127.0.0.1", server.port))
        with closing(connection):
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"hello"


def test_a_connection_does_not_open_one_itself() -> None:
    with serving() as server:
        connection = HTTPConnection("127.0.0.1", server.port)
        connection.auto_open = 0
        with pytest.raises(NotConnected):
            connection.request("GET", "/")
    assert server.connections == 0


def test_a_response_knows_what_is_missing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        theirs.shutdown(socket.SHUT_WR)
        with HTTPResponse(ours, method="GET") as response:
            response.begin()
            assert response.read(100) == b"abc"
            assert response.length == 7
