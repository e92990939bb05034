"""Limits of size and time, which hold whatever a server does.

The servers end by themselves after five seconds. A request without limits therefore ends too, and
fails its test.
"""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import Any

import pytest

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.outgoing import connection
from scheduled_tasks.outgoing.sending import send
from tests.outgoing.conftest import Allow, NameServer
from tests.outgoing.servers import MAX_SECONDS, Answer, dripping, ok, redirect, serving, silent

HEAD = b"HTTP/1.1 200 OK\r\n"
#: The header of a record of 16 KiB with a part of a handshake.
HANDSHAKE = b"\x16\x03\x03\x40\x00\x02"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
#: Answers in which one part does not end.
SLOW = {
    "silence": silent,
    "status": dripping(b"", b"H"),
    "reason": dripping(b"HTTP/1.1 200 "),
    "headers": dripping(HEAD, b"X-Tag: a\r\n"),
    "header": dripping(HEAD + b"X-Tag: "),
    "interim answer": dripping(b"HTTP/1.1 103 Early Hints\r\n", b"Link: a\r\n"),
    "body": dripping(HEAD + b"\r\n"),
    "body of a known length": dripping(HEAD + b"Content-Length: 1000\r\n\r\n"),
    "chunks": dripping(CHUNKED, b"1\r\na\r\n"),
    "size of a chunk": dripping(CHUNKED, b"1"),
    "trailers": dripping(CHUNKED + b"0\r\n", b"X-Tag: a\r\n"),
}
INTERIM = b"HTTP/1.1 103 Early Hints\r\n"
#: Beginnings of answers, and what follows them without an end.
ENDLESS = {
    "headers": (HEAD, b"X-Tag: %s\r\n" % (b"a" * 1_000)),
    "header": (HEAD + b"X-Tag:", b"a" * 1_000),
    "headers of an interim answer": (INTERIM, b"Link: a\r\n"),
    "interim answers": (b"", INTERIM + b"Link: %s\r\n\r\n" % (b"a" * 5_000)),
    "extension of chunks": (CHUNKED, b"1;%s\r\na\r\n" % (b"a" * 50_000)),
    "trailers": (CHUNKED + b"1\r\na\r\n0\r\n", b"X-Tag: a\r\n"),
}


@pytest.fixture(autouse=True)
def loopback(allow: Allow) -> None:
    allow("127.0.0.0/8", "shop.example")


@contextmanager
def timing_out() -> Iterator[None]:
    began = monotonic()
    with pytest.raises(OutgoingError, match=r" did not answer in full within 0\.3 s\.$") as failed:
        yield
    assert not failed.value.permanent
    assert monotonic() - began < MAX_SECONDS


@pytest.mark.parametrize("size", [0, 9, 10, 11, 5_000])
@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
def test_a_body_is_cut_at_the_limit(size: int, framing: str) -> None:
    body = b"a" * size
    answers = {
        "length": ok(body),
        "chunks": CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
        if size
        else CHUNKED + b"0\r\n\r\n",
        "end": HEAD + b"\r\n" + body,
    }
    with serving(answers[framing]) as server:
        answer = send("GET", f"http://127.0.0.1:{server.port}/", max_bytes=10)
    assert answer.body == body[:10]
    assert answer.truncated is (size > 10)


def test_an_endless_body_is_cut() -> None:
    sent = 0

    def endless(server: Any, connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(HEAD + b"\r\n")
        while sent < 100_000_000:
            sent += connection.send(b"a" * 100_000)

    with serving(endless) as server:
        answer = send("GET", f"http://127.0.0.1:{server.port}/", max_bytes=1_000)
    assert (len(answer.body), answer.truncated) == (1_000, True)
    assert sent < 100_000_000


@pytest.mark.parametrize("part", ENDLESS)
def test_what_surrounds_a_body_is_limited(part: str) -> None:
    with serving(without_end(*ENDLESS[part])) as server, pytest.raises(OutgoingError) as failed:
        send("GET", f"http://127.0.0.1:{server.port}/", max_bytes=1_000)
    assert str(failed.value).endswith(" sent too much besides the body of its answer.")
    assert not failed.value.permanent


def test_chunks_may_be_small() -> None:
    with serving(without_end(CHUNKED, b"64\r\n%s\r\n" % (b"a" * 100))) as server:
        answer = send("GET", f"http://127.0.0.1:{server.port}/")
    assert (len(answer.body), answer.truncated) == (1_000_000, True)


def test_sizes_of_chunks_are_limited() -> None:
    with (
        serving(without_end(CHUNKED, b"1\r\na\r\n")) as server,
        pytest.raises(OutgoingError, match="too much besides the body"),
    ):
        send("GET", f"http://127.0.0.1:{server.port}/")


def test_parsing_headers_takes_little_time() -> None:
    """The email package looks for the end of a quoted text again at each semicolon."""
    lines = [b";" * 60_000 for _ in range(3)]
    quoted = b'Content-Type: multipart/x; a="' + b"\r\n ".join(lines) + b"\r\n\r\n"
    before = thread_time()
    with serving(HEAD + quoted) as server, pytest.raises(OutgoingError):
        send("GET", f"http://127.0.0.1:{server.port}/")
    assert thread_time() - before < 1


def without_end(beginning: bytes, rest: bytes) -> Answer:
    def answer(server: Any, connection: socket.socket) -> None:
        connection.sendall(beginning)
        ends = monotonic() + MAX_SECONDS
        while monotonic() < ends:
            connection.sendall(rest * 100)

    return answer


def test_a_compressed_body_is_not_decoded() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    with serving(ok(bomb, "Content-Encoding: gzip")) as server:
        answer = send("GET", f"http://127.0.0.1:{server.port}/")
    assert answer.body == bomb


@pytest.mark.parametrize("part", SLOW)
def test_a_slow_answer_is_cut_off(part: str) -> None:
    with serving(SLOW[part]) as server, timing_out():
        send("GET", f"http://127.0.0.1:{server.port}/", timeout=0.3)


def test_a_server_that_reads_nothing_is_left() -> None:
    def deaf(server: Any, connection: socket.socket) -> None:
        server.ended.wait(MAX_SECONDS)

    with serving(deaf, reads=False) as server, timing_out():
        send("POST", f"http://127.0.0.1:{server.port}/", body=b"a" * 50_000_000, timeout=0.3)


def test_a_server_that_reads_slowly_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def sipping(server: Any, peer: socket.socket) -> None:
        ends = monotonic() + MAX_SECONDS
        while peer.recv(20_000) and monotonic() < ends:
            server.ended.wait(0.01)

    def connect(*arguments: Any) -> socket.socket:
        # With a large buffer, the kernel itself lets the sender wait until much of it is free.
        sock = connect_as_ever(*arguments)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5_000)
        return sock

    connect_as_ever = connection.connect
    monkeypatch.setattr(connection, "connect", connect)
    with serving(sipping, reads=False) as server, timing_out():
        send("POST", f"http://127.0.0.1:{server.port}/", body=b"a" * 50_000_000, timeout=0.3)


def test_redirects_share_one_deadline() -> None:
    def slow(server: Any, connection: socket.socket) -> None:
        server.ended.wait(0.12)
        connection.sendall(redirect("/again"))

    with serving(slow) as server, timing_out():
        send("GET", f"http://127.0.0.1:{server.port}/", timeout=0.3)


@pytest.mark.parametrize("answer", [silent, dripping(HANDSHAKE)], ids=["silence", "record"])
def test_a_slow_tls_handshake_is_cut_off(answer: Answer) -> None:
    with serving(answer, reads=False) as server, timing_out():
        send("GET", f"https://127.0.0.1:{server.port}/", timeout=0.3)


def test_a_slow_name_server_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def getaddrinfo(*arguments: Any, **options: Any) -> list[Any]:
        answered.wait(MAX_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        with timing_out():
            send("GET", "http://shop.example/", timeout=0.3)
    finally:
        answered.set()


def test_addresses_that_hang_leave_time_for_others(name_server: NameServer) -> None:
    """A listener whose queue is full lets connections hang, as firewalls do."""
    name_server.add("shop.example", ["127.0.0.2", "127.0.0.1"])
    with serving() as server, hanging("127.0.0.2", server.port):
        url = f"http://shop.example:{server.port}/"
        assert send("GET", url, timeout=2).body == b"hello"
    assert server.connections == 1


@contextmanager
def hanging(host: str, port: int) -> Iterator[None]:
    with socket.create_server((host, port), backlog=0):
        waiting = [socket.socket() for _ in range(4)]
        try:
            for sock in waiting:
                sock.setblocking(False)
                sock.connect_ex((host, port))
            yield
        finally:
            for sock in waiting:
                sock.close()
