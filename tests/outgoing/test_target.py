"""URLs: their parts, what is refused, and what errors show of them."""

from __future__ import annotations

import pytest

from scheduled_tasks.exceptions import AddressRefused, OutgoingError
from scheduled_tasks.outgoing.target import Target


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://Shop.Example", "http://shop.example", "/"),
        ("HTTPS://shop.example.:443/a?b=c#d", "https://shop.example", "/a?b=c"),
        ("http://shop.example:443/", "http://shop.example:443", "/"),
        ("https://shop_1:8443?x", "https://shop_1:8443", "/?x"),
        ("http://shop.example:/", "http://shop.example", "/"),
        ("http://8.8.8.8:8080/", "http://8.8.8.8:8080", "/"),
        ("http://[2606:4700:0::1111]:8080/", "http://[2606:4700::1111]:8080", "/"),
        ("http://xn--bcher-kva.example/ä b?ö=%C3%B6", None, "/%C3%A4%20b?%C3%B6=%C3%B6"),
        ('http://shop.example/"<>\\^`{|}', None, "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
    ],
)
def test_a_url_is_taken_apart(url: str, origin: str | None, path: str) -> None:
    target = Target.of(url)
    assert target.path == path
    if origin is not None:
        assert str(target) == origin
        assert target.url == origin + path


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "//shop.example/",
        "ftp://shop.example/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "javascript:alert(1)",
        "http://shop.example:0/",
        "http://shop.example:00/",
        "http://shop.example:65536/",
        "http://shop.example:-1/",
        "http://shop.example:８０/",  # noqa: RUF001 -- fullwidth digits
        "http://shop.example:1_0/",
        "http://[::1",
        "http://shop.example/\r\nHost: other",
        "http://shop\n.example/",
        "http://sh\top.example/",
        "http://shop.example/\x00",
        "http://shop.example/\ud800",
        "http://\udfff@shop.example/",
    ],
)
def test_an_invalid_url_is_a_permanent_error(url: str) -> None:
    with pytest.raises(OutgoingError) as refused:
        Target.of(url)
    assert refused.value.permanent
    assert str(refused.value).startswith("The URL ")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "a..b",
        ".a",
        "-a.example",
        "a b",
        "a\\b",
        "a,b",
        "*.example",
        "bücher.example",
        "a" * 64,
        f"{'a.' * 127}a",
        "1.2.3.4.5",
        "a.0x7f",
        "[v1.a]",
        "[::1]a",
        "[::1",
        "a]",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(OutgoingError) as refused:
        Target.of(f"http://{host}/")
    assert refused.value.permanent


def test_a_host_after_the_user_counts() -> None:
    assert Target.of("http://shop.example@10.0.0.1/").host == Target.of("http://10.0.0.1").host
    assert str(Target.of("http://10.0.0.1:80@shop.example/")) == "http://shop.example"
    with pytest.raises(AddressRefused):
        Target.of("http://shop.example\\@127.1/")


def test_the_user_of_a_url_becomes_a_header() -> None:
    target = Target.of("https://ada:p%40ss:w%C3%B6rd@shop.example/x")
    assert target.authorization == "Basic YWRhOnBAc3M6d8O2cmQ="
    assert target.url == "https://shop.example/x"
    assert Target.of("https://ada@shop.example/").authorization == "Basic YWRhOg=="
    assert Target.of("https://shop.example/").authorization is None


def test_neither_text_nor_repr_shows_secrets() -> None:
    target = Target.of("https://ada:secret@shop.example/secret?token=secret")
    assert "secret" not in f"{target} {target!r}"
    assert "YWRh" not in f"{target} {target!r}"


def test_a_redirect_keeps_the_user_of_the_url() -> None:
    target = Target.of("https://ada:pass@shop.example/a/b")
    assert target.joined("c").url == "https://shop.example/a/c"
    assert target.joined("https://eve:x@shop.example/").authorization == target.authorization
