"""Real servers on loopback, which record what arrives and answer as they are told to."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

#: No server serves longer, so that a client without limits ends too, and its test fails.
MAX_SECONDS = 5.0
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)

Answer = bytes | Callable[["Server", socket.socket], None]


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the only value of a header."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} occurs more than once"
        return values[0] if values else None


class Server:
    """Answers the n-th connection with the n-th answer, and later ones with the last.

    It reads a whole request before, unless ``reads`` is false.
    """

    def __init__(
        self,
        answers: tuple[Answer, ...],
        address: tuple[str, int],
        *,
        tls: ssl.SSLContext | None,
        reads: bool,
    ) -> None:
        self.answers = answers
        self.tls = tls
        self.reads = reads
        self.requests: list[Received] = []
        self.connections = 0
        self.ended = threading.Event()
        self.listener = socket.create_server(address, family=family_of(address[0]))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(MAX_SECONDS)
            with connection, suppress(OSError):
                self.answer(connection)

    def answer(self, connection: socket.socket) -> None:
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True)
        with connection:
            if self.reads:
                self.requests.append(received(connection))
            answer = self.answers[min(self.connections, len(self.answers)) - 1]
            if isinstance(answer, bytes):
                connection.sendall(answer)
            else:
                answer(self, connection)

    def close(self) -> None:
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextmanager
def serving(
    *answers: Answer,
    tls: ssl.SSLContext | None = None,
    reads: bool = True,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Server]:
    server = Server(answers or (ok(b"hello"),), (host, port), tls=tls, reads=reads)
    server.thread.start()
    try:
        yield server
    finally:
        server.close()


def received(connection: socket.socket) -> Received:
    """Read a request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += chunk_of(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    while length and len(body) < int(length[1]):
        body += chunk_of(connection)
    line, *lines = head.decode("latin-1").split("\r\n")
    pairs = [text.partition(": ") for text in lines]
    return Received(line, [(name, value) for name, _, value in pairs], body)


def chunk_of(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the client has gone")
    return data


def ok(body: bytes, *headers: str) -> bytes:
    return response("200 OK", *headers, body=body)


def redirect(location: str, status: str = "302 Found") -> bytes:
    return response(status, f"Location: {location}")


def response(status: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def dripping(beginning: bytes, drop: bytes = b"a") -> Answer:
    """Answer with one drop every 20 ms, until the client has gone."""

    def drip(server: Server, connection: socket.socket) -> None:
        connection.sendall(beginning)
        for _ in range(int(MAX_SECONDS / 0.02)):
            connection.sendall(drop)
            if server.ended.wait(0.02):
                return

    return drip


def silent(server: Server, connection: socket.socket) -> None:
    """Answer nothing until the client has gone."""
    while connection.recv(65_536):
        pass
