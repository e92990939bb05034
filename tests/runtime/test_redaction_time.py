"""Masking takes time in proportion to the text, whatever the text is."""

from __future__ import annotations

import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduled_tasks.runtime.redaction import mask_secrets
from scheduled_tasks.runtime.sanitizing import redacted_json, redacted_text
from tests.support.lengths import short_and_long

#: What a text is made of that is meant to make the scan read the same characters again.
PIECES = (
    *("password=", "password:", "tokens = ", "name: token ", "value=", "%3D", "=", ":"),
    *("'", '"', "\\", '\\"', "\\\\'", "&quot;", "(", "[", "{", ")", "]}", "x("),
    *("://", "://a:", "@", "/", "#", "-----BEGIN RSA PRIVATE KEY", "-----END", "-"),
    *("<password>", "</", "<![CDATA[", "<", ">", "cookie: ", "'cookie: ", '"authorization: '),
    *("--password ", "Bearer ", "('token', '", "PASSWORD '", "eyJaaaaaaa.", "ghp_", "[redacted]"),
    *('"token"(', "(a, token)=(", 'name="token">', 'name="token"\n\n', "\\u0022", "passwords[0]="),
    *("bot123456:", "&sig=", "[['token', '", "id=token, new=", "password('", "Bearer realm="),
    *("\x1b[36m", "\\x1b[0m", "*", "<b>", "</b>", "&nbsp;", "</td><td>", ":\\/\\/", "%3A%2F%2F"),
    *("%3A", "%40", "tokens:\n- ", "secret:\n  a: ", "password: !a ", "--user ", "--token \\\n"),
    *(
        "  token:\n- a\n",
        "  token:\n a: 1\n",
        "/hooks/",
        "_auth=",
        "Private-Lines:",
        "---- END",
        "PWD=/",
        "[::1]",
    ),
    *(" ", "\n", "\r", "\t", "|\n ", "a", "1", ",", "%s"),
)
#: Doubling a text may take this many times as long. A quadratic scan takes four times as long.
MAX_RATIO = 3.0
#: CPU time below which a ratio says nothing.
MIN_SECONDS = 0.02


def seconds_for(text: str) -> float:
    begun = time.process_time()
    mask_secrets(text)
    return time.process_time() - begun


def is_linear(unit: str, *, length: int, before: str = "", after: str = "") -> bool:
    """Whether masking takes time in proportion to the length of a text; noise gets three tries."""
    text = unit * (length // len(unit))
    for _ in range(3):
        # Four times the length, so that a quadratic scan takes sixteen times as long.
        longer = seconds_for(f"{before}{text * 4}{after}")
        if longer < max(MIN_SECONDS, MAX_RATIO**2 * seconds_for(f"{before}{text}{after}")):
            return True
    return False


@pytest.mark.parametrize("pieces", short_and_long("HOSTILE_PIECES", short=1, long=2))
def test_hostile_texts_take_linear_time(pieces: int) -> None:
    hostile = [
        (unit, before, after)
        for unit in map("".join, product(PIECES, repeat=pieces))
        for before, after in (("", ""), ('password=\\"a', ""), ("", '" ) x'))
        if not is_linear(unit, length=4_000, before=before, after=after)
    ]
    assert hostile == []


def test_an_unclosed_quote_takes_linear_time() -> None:
    for unit in ("\\", '\\\\"', "'\\", '"(', "password:\nx("):
        assert is_linear(unit, length=50_000, before='password=\\"a', after=")")


@pytest.mark.parametrize("mark", ["[redacted]", "'[redacted]", " [redacted]; a=b "])
def test_many_masked_headers_take_linear_time(mark: str) -> None:
    for header in ("cookie: ", "'cookie: ", '"authorization: '):
        assert is_linear(header + mark, length=4_000)


texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=60).map("".join)


# Not at random: a few contrived texts, such as a key without its last line, change again.
@given(texts)
@settings(max_examples=200, derandomize=True)
def test_what_is_masked_stays_masked(text: str) -> None:
    clean = mask_secrets(text)
    assert mask_secrets(clean) == clean


@given(texts, st.integers(1, 60))
@settings(max_examples=100)
def test_any_text_is_cut_and_can_be_stored(text: str, limit: int) -> None:
    clean = redacted_text(text, limit=limit)
    assert len(clean) <= limit
    assert "\0" not in clean
    clean.encode()


@pytest.mark.parametrize(
    ("place", "length"),
    [
        (0, 30_000),
        (19_990, 60_000),
        *(
            pytest.param(place, length, marks=pytest.mark.long)
            for place in (0, 5_000, 19_990, 150_000)
            for length in (60_000, 300_000)
        ),
    ],
)
@pytest.mark.parametrize(
    "form", ['token="{}"', "token={}", "https://{}@x/", "<token>{}</token>", "Bearer {}"]
)
def test_no_part_of_a_cut_secret_is_left(form: str, place: int, length: int) -> None:
    secret = form.format("hunter2" * (length // 7))
    text = "some words " * (place // 11) + secret + " more words" * 10_000
    for limit in (500, 10_000, 100_000):
        assert "hunter" not in redacted_text(text, limit=limit)
        assert "hunter" not in str(redacted_json([text, secret]))
