"""What arrives at a server, what comes back, and what is not sent at all."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.outgoing.sending import send
from tests.outgoing.conftest import Allow
from tests.outgoing.servers import Answer, ok, response, serving, silent

#: To the email package, messages within messages; to http.client, one line.
NESTED = b"".join(b"Content-Type:multipart/a;boundary=a%d\r\r--a%d\r" % (n, n) for n in range(500))


@pytest.fixture(autouse=True)
def loopback(allow: Allow) -> None:
    allow("127.0.0.0/8")


def failure(answer: Answer) -> str:
    """Return the message for a server's answer."""
    with serving(answer) as server, pytest.raises(OutgoingError) as failed:
        send("GET", f"http://127.0.0.1:{server.port}/secret")
    assert not failed.value.permanent
    message = str(failed.value)
    assert message.startswith(("http://127.0.0.1:", "The connection to http://127.0.0.1:"))
    assert "secret" not in message
    return message


def test_a_request_arrives_with_what_was_given() -> None:
    with serving() as server:
        send(
            "POST",
            f"http://127.0.0.1:{server.port}/hook?a=1#b",
            headers={"X-Signature": "t=1,v1=2", "Content-Type": "application/json"},
            body=b'{"n": 1}',
        )
    [request] = server.requests
    assert request.line == "POST /hook?a=1 HTTP/1.1"
    assert request.body == b'{"n": 1}'
    assert sorted(request.headers) == [
        ("Accept", "*/*"),
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("Content-Length", "8"),
        ("Content-Type", "application/json"),
        ("Host", f"127.0.0.1:{server.port}"),
        ("User-Agent", "scheduled-tasks"),
        ("X-Signature", "t=1,v1=2"),
    ]


def test_a_response_has_status_headers_and_body() -> None:
    with serving(response("418 Teapot", "X-Tag: a", "x-tag: b", body=b"\x00tea")) as server:
        url = f"http://127.0.0.1:{server.port}/pot?brew"
        answer = send("GET", url.replace("//", "//ada:pass@"))
    assert (answer.status, answer.body, answer.truncated) == (418, b"\x00tea", False)
    assert (answer.headers["X-TAG"], answer.url) == ("a, b", url)
    assert "brew" not in repr(answer)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PURGE"])
def test_any_method_is_sent(method: str) -> None:
    with serving() as server:
        answer = send(method, f"http://127.0.0.1:{server.port}/")
    assert server.requests[0].line == f"{method} / HTTP/1.1"
    assert answer.body == (b"" if method == "HEAD" else b"hello")


@pytest.mark.parametrize(
    "method", ["", "get", "CONNECT", "TRACE", "GET /x HTTP/1.1\r\nA: b", "GÉT"]
)
def test_other_methods_are_refused(method: str) -> None:
    with serving() as server, pytest.raises(OutgoingError, match="cannot be sent") as refused:
        send(method, f"http://127.0.0.1:{server.port}/")
    assert refused.value.permanent
    assert server.connections == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Tag", "a\r\nX-Other: b"),
        ("X-Tag", "a\nX-Other: b"),
        ("X-Tag", "a\r\n\r\nGET / HTTP/1.1"),
        ("X-Tag", "secret\x00"),
        ("X-Tag", "sécret"),
        ("X-Tag\r\nX-Other", "secret"),
        ("X-Tag: a", "secret"),
        ("X Tag", "secret"),
        ("", "secret"),
        ("Host", "other.example"),
        ("HOST", "other.example"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "keep-alive"),
    ],
)
def test_headers_that_change_the_request_are_refused(name: str, value: str) -> None:
    with serving() as server, pytest.raises(OutgoingError, match="header") as refused:
        send("POST", f"http://127.0.0.1:{server.port}/", headers={name: value}, body=b"x")
    assert refused.value.permanent
    assert value not in str(refused.value)
    assert server.connections == 0


def test_given_headers_replace_the_default_ones() -> None:
    given = {"user-agent": "mine", "ACCEPT": "text/html", "accept-encoding": "gzip"}
    with serving() as server:
        send("GET", f"http://127.0.0.1:{server.port}/", headers=given)
    [request] = server.requests
    assert {name: request.header(name) for name in given} == given


def test_the_user_is_sent_as_basic_authorization() -> None:
    with serving() as server:
        url = f"http://ada:p%40ss@127.0.0.1:{server.port}/"
        send("GET", url)
        send("GET", url, headers={"authorization": "Bearer x"})
    sent = [request.header("authorization") for request in server.requests]
    assert sent == ["Basic YWRhOnBAc3M=", "Bearer x"]


def test_no_cookie_is_kept() -> None:
    with serving(ok(b"", "Set-Cookie: session=1; Path=/")) as server:
        url = f"http://127.0.0.1:{server.port}/"
        assert send("GET", url).headers["set-cookie"] == "session=1; Path=/"
        send("GET", url)
    assert [request.header("cookie") for request in server.requests] == [None, None]
    assert server.connections == 2


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(ok(b"proxy")) as proxy, serving() as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert send("GET", f"http://127.0.0.1:{server.port}/").body == b"hello"
    assert proxy.connections == 0


def test_threads_send_at_the_same_time() -> None:
    with serving() as server, ThreadPoolExecutor(8) as pool:
        urls = [f"http://127.0.0.1:{server.port}/{n}" for n in range(40)]
        answers = list(pool.map(lambda url: send("GET", url), urls))
    assert [answer.url for answer in answers] == urls


def test_chunks_are_joined() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with serving(head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-End: 1\r\n\r\n") as server:
        assert send("GET", f"http://127.0.0.1:{server.port}/").body == b"abcde"


def test_interim_answers_are_skipped() -> None:
    statuses = ["100 Continue", "102 Processing", "103 Early Hints", "199 Other"]
    interim = [f"HTTP/1.1 {status}\r\nLink: a\r\n\r\n".encode() for status in statuses]
    with serving(b"".join(interim) + ok(b"hello")) as server:
        answer = send("POST", f"http://127.0.0.1:{server.port}/", body=b"{}")
    assert (answer.status, answer.body) == (200, b"hello")
    assert "link" not in answer.headers


def test_a_few_interim_answers_are_skipped() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    with serving(interim * 10 + ok(b"hello")) as server:
        assert send("GET", f"http://127.0.0.1:{server.port}/").status == 200
    assert "did not answer in valid HTTP" in failure(interim * 11 + ok(b"hello"))


def test_another_protocol_is_the_final_answer() -> None:
    with serving(b"HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 200 OK\r\n\r\n") as server:
        assert send("GET", f"http://127.0.0.1:{server.port}/").status == 101


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6 secret\r\n",
        b"-ERR secret\r\n\r\n",
        b"HTTP/1.1 abc secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Tag: secret\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsecret",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nsecret",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nsecret",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nsecret",
        b"HTTP/1.1 200 OK\r\nX-Tag: a\rX-Other: secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + NESTED + b"\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nX-Tag: secret\r\n\r\nsecret",
    ],
)
def test_an_invalid_answer_is_not_quoted(answer: bytes) -> None:
    assert "did not answer in valid HTTP" in failure(answer)


def test_a_closed_connection_is_an_error() -> None:
    assert failure(b"").endswith(" closed the connection without an answer.")


def test_a_closed_port_is_an_error() -> None:
    with serving(silent) as server:
        port = server.port
    with pytest.raises(OutgoingError) as failed:
        send("GET", f"http://ada:pass@127.0.0.1:{port}/secret?token=x")
    origin = re.escape(f"http://127.0.0.1:{port}")
    assert re.fullmatch(rf"The connection to {origin} failed: .*refused\.", str(failed.value))
    assert not failed.value.permanent
