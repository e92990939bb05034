"""Which redirects are followed, and which are refused."""

from __future__ import annotations

import pytest

from scheduled_tasks.exceptions import OutgoingError
from scheduled_tasks.outgoing.sending import is_same_server, send
from scheduled_tasks.outgoing.target import Target
from tests.outgoing.conftest import Allow
from tests.outgoing.servers import ok, redirect, serving

GET_KEEPS = ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]


@pytest.fixture(autouse=True)
def loopback(allow: Allow) -> None:
    allow("127.0.0.0/8", "localhost")


@pytest.mark.parametrize("status", GET_KEEPS)
@pytest.mark.parametrize("location", ["/next?a=b", "next?a=b", "//127.0.0.1:{port}/next?a=b"])
def test_a_redirect_within_the_host_is_followed(status: str, location: str) -> None:
    with serving() as server:
        there = location.format(port=server.port)
        server.answers = (redirect(there, status), ok(b"there"))
        answer = send("GET", f"http://ada:x@127.0.0.1:{server.port}/", headers={"X-Tag": "1"})
    assert answer.body == b"there"
    assert answer.url == f"http://127.0.0.1:{server.port}/next?a=b"
    assert server.requests[1].line == "GET /next?a=b HTTP/1.1"
    for request in server.requests:
        assert request.header("x-tag") == "1"
        assert request.header("authorization") == "Basic YWRhOng="


@pytest.mark.parametrize("status", ["307 Temporary", "308 Permanent"])
def test_a_method_that_is_kept_is_sent_again(status: str) -> None:
    with serving(redirect("/next", status), ok(b"there")) as server:
        answer = send("POST", f"http://127.0.0.1:{server.port}/", body=b"data")
    assert answer.body == b"there"
    assert [request.body for request in server.requests] == [b"data", b"data"]
    assert server.requests[1].line == "POST /next HTTP/1.1"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other"])
def test_a_method_that_would_change_is_not_followed(status: str) -> None:
    with serving(redirect("/next", status)) as server:
        answer = send("POST", f"http://127.0.0.1:{server.port}/", body=b"data")
    assert answer.status == int(status[:3])
    assert server.connections == 1


def test_no_redirect_is_followed_if_not_wanted() -> None:
    with serving(redirect("http://other.example/")) as server:
        answer = send("GET", f"http://127.0.0.1:{server.port}/", follow_redirects=False)
    assert (answer.status, answer.headers["location"]) == (302, "http://other.example/")


@pytest.mark.parametrize("answer", [redirect("", "302 Found"), redirect("/x", "304 Not Modified")])
def test_what_leads_nowhere_is_the_answer(answer: bytes) -> None:
    with serving(answer) as server:
        assert send("GET", f"http://127.0.0.1:{server.port}/").status in (302, 304)


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/",
        "http://127.0.0.2:{port}/",
        "http://127.0.0.1:{other}/",
        "http://127.0.0.1/",
        "https://127.0.0.1:{port}/",
        "https://127.0.0.1/",
        "//other.example/",
        "http://127.1:{port}/",
        "http://127.0.0.1:{port}@169.254.169.254/",
        "http://[::1/",
        "ftp://127.0.0.1:{port}/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_to_another_server_is_refused(location: str) -> None:
    with serving() as server, serving(ok(b"other")) as other:
        server.answers = (redirect(location.format(port=server.port, other=other.port)),)
        with pytest.raises(OutgoingError, match=" redirects to ") as refused:
            send("GET", f"http://127.0.0.1:{server.port}/")
    assert refused.value.permanent
    assert (server.connections, other.connections) == (1, 0)


def test_five_redirects_are_followed() -> None:
    chain = [redirect(f"/{n}") for n in range(1, 6)]
    with serving(*chain, ok(b"end")) as server:
        assert send("GET", f"http://127.0.0.1:{server.port}/0").body == b"end"
    with serving(redirect("/again")) as server, pytest.raises(OutgoingError) as refused:
        send("GET", f"http://127.0.0.1:{server.port}/")
    assert str(refused.value).endswith("redirects more than 5 times.")
    assert refused.value.permanent
    assert server.connections == 6


def test_a_location_outside_ascii_is_escaped() -> None:
    answer = redirect("/ü b").replace(b"\xc3\xbc", "ü".encode())
    with serving(answer, ok(b"there")) as server:
        assert send("GET", f"http://127.0.0.1:{server.port}/").body == b"there"
    assert server.requests[1].line == "GET /%C3%BC%20b HTTP/1.1"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("http://a.example/", "https://a.example/", True),
        ("http://a.example:80/", "https://a.example:443/", True),
        ("https://a.example/", "http://a.example/", False),
        ("https://a.example:8443/", "http://a.example:8443/", False),
        ("http://a.example:443/", "https://a.example/", False),
        ("http://a.example/", "https://a.example:8443/", False),
        ("http://a.example/", "https://b.example/", False),
        ("https://a.example/", "https://A.example./", True),
        ("https://a.example/", "https://www.a.example/", False),
    ],
)
def test_only_https_may_replace_http(old: str, new: str, *, same: bool) -> None:
    assert is_same_server(Target.of(old), Target.of(new)) is same
