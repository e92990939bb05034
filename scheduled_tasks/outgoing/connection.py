"""A connection to an address that was checked, which ends at its deadline."""

from __future__ import annotations

import io
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from http.client import HTTPException
from typing import Any

from scheduled_tasks.outgoing.deadline import Deadline
from scheduled_tasks.outgoing.target import Address, Target


@contextmanager
def connection(
    target: Target, addresses: list[Address], deadline: Deadline
) -> Iterator[DeadlineSocket]:
    """Connect to the first of the addresses that answers. Raise OSError if none does."""
    with closing(connected(addresses, target.port, deadline)) as sock:
        # Otherwise a body waits until the server has acknowledged the headers.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.scheme == "http":
            yield DeadlineSocket(sock, deadline)
            return
        with closing(encrypted(sock, str(target.host))) as encrypted_sock:
            encrypted_sock.settimeout(deadline.remaining())
            encrypted_sock.do_handshake()
            yield DeadlineSocket(encrypted_sock, deadline)


def connected(addresses: list[Address], port: int, deadline: Deadline) -> socket.socket:
    """Try each address for an equal share of the time that is left."""
    failure = OSError("The name has no addresses.")
    for tried, address in enumerate(addresses):
        try:
            return connect(address, port, deadline.remaining() / (len(addresses) - tried))
        except OSError as error:
            failure = error
    raise failure


def connect(address: Address, port: int, timeout: float) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def encrypted(sock: socket.socket, host: str) -> ssl.SSLSocket:
    """Return the socket with TLS, before the handshake. The certificate must be for the host."""
    return tls_context().wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


@cache
def tls_context() -> ssl.SSLContext:
    """Return what trusts the authorities that the system trusts.

    It is made once, since reading their certificates takes 40 ms. Threads may share it.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class TooManyBytes(HTTPException):
    """The server has sent more than an answer may have."""


class DeadlineSocket:
    """What http.client uses of a socket, with one deadline for everything that is sent and read.

    A timeout of a socket starts again with each byte.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline
        self._reader = DeadlineReader(sock, deadline)

    def allow(self, size: int) -> None:
        """Let this number of bytes be read, in addition to earlier ones."""
        self._reader.allowed += size

    def sendall(self, data: bytes) -> None:
        unsent = memoryview(data)
        while unsent:
            self._sock.settimeout(self._deadline.remaining())
            unsent = unsent[self._sock.send(unsent) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        return LineReader(self._reader)

    def close(self) -> None:
        """Leave the socket open: http.client closes it before the body is read."""


class DeadlineReader(io.RawIOBase):
    """The bytes that arrive at a socket before the deadline. Raise TooManyBytes beyond a limit."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        #: How many more may arrive, whatever they are for.
        self.allowed = 0
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._deadline.remaining())
        size = self._sock.recv_into(buffer)
        self.allowed -= size
        if self.allowed < 0:
            raise TooManyBytes
        return size


class LineReader(io.BufferedReader):
    """Refuses lines in which another line is hidden.

    To http.client a line ends with LF, to the email package with CR as well. So 100 headers could
    be thousands, and whole messages nested in each other.
    """

    def readline(self, size: int | None = -1) -> bytes:
        line = super().readline(size)
        if line.count(b"\r") > line.endswith(b"\r\n"):
            raise HTTPException("a CR without LF")
        return line
