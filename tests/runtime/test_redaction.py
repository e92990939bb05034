"""Secrets are taken out of what people read, and nothing else is."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from django.test import override_settings
from django.utils.functional import lazystr
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.runtime.redaction import mask_secrets, mask_secrets_in_json
from scheduled_tasks.runtime.sanitizing import redacted_json, redacted_text, shown_json

SECRET = "hunter2xyz"


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2xyz",
        "PASSWORD = hunter2xyz, next",
        "db_password: hunter2xyz",
        "login(user='ann', passwd='hunter2xyz')",
        '{"password": "hunter2xyz", "user": "ann"}',
        "{'api_token': 'hunter2xyz'}",
        '{"secret": "it\\"s hunter2xyz"}',
        "accessToken=>hunter2xyz",
        "GET /?api_key=hunter2xyz&page=2",
        "X-Api-Key: hunter2xyz",
        "AWS_SECRET_ACCESS_KEY=hunter2xyz",
        "Authorization: Bearer hunter2xyz",
        "authorization: Token hunter2xyz trailing hunter2xyz",
        "{'Authorization': 'Basic hunter2xyz', 'Accept': '*/*'}",
        "Cookie: a=1; sessionid=hunter2xyz",
        "token = Bearer hunter2xyz",
        "postgres://shop:hunter2xyz@db.internal:5432/shop",
        "https://:hunter2xyz@example.com/",
        "SECRET_KEY = 'hunter2xyz'",
        "credentials=hunter2xyz",
        "passphrase:hunter2xyz",
        "{'Authorization': b'Bearer hunter2xyz'}",
        "password=b'hunter2xyz', rb\"x\"",
        r'{"body": "{\"password\": \"hunter2xyz\", \"user\": \"ann\"}"}',
        '{"token": "hunter2xyz and it goes on',
        "{'token': 'hunter2xyz and it goes on",
        "postgres://shop:p@hunter2xyz@db/shop",
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    clean = mask_secrets(text)
    assert SECRET not in clean
    assert "[redacted]" in clean
    assert mask_secrets(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "tokens=1500 token_count: 3 max_tokens=7",
        "the secretary: Ann",
        "if token == expected:",
        "password reset for ann",
        "see https://example.com/a:b@c or mail ann@example.com",
        "12:30:01 all is well; a=b, c: d",
        "monkeys=3",
        "",
        "token:",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask_secrets(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    text = 'login user=ann password="hunter2 xyz" from 10.0.0.1 ok'
    assert mask_secrets(text) == "login user=ann password=[redacted] from 10.0.0.1 ok"
    assert mask_secrets("Cookie: a=1\nAccept: b") == "Cookie: [redacted]\nAccept: b"


def test_secret_keys_are_redacted_at_any_depth() -> None:
    value = {
        "user": "ann",
        "password": SECRET,
        "nested": [{"api-key": {"id": 1}, "note": f"token={SECRET}"}],
        "token": None,
        "tokens": 5,
        1: "password: x",
    }
    assert mask_secrets_in_json(value) == {
        "user": "ann",
        "password": "[redacted]",
        "nested": [{"api-key": "[redacted]", "note": "token=[redacted]"}],
        "token": None,
        "tokens": 5,
        1: "password: [redacted]",
    }


def test_the_names_are_a_setting() -> None:
    with override_settings(SCHEDULED_TASKS={"REDACT": ["iban", "pin code"]}):
        assert mask_secrets("IBAN: DE123 pin code=1234 password=x") == (
            "IBAN: [redacted] pin code=[redacted] password=x"
        )
        assert mask_secrets_in_json({"iban": 1, "token": 2}) == {"iban": "[redacted]", "token": 2}
    with override_settings(SCHEDULED_TASKS={"REDACT": []}):
        assert mask_secrets("password=x") == "password=x"


@pytest.mark.parametrize(
    "name", ["pass(", "(", "(?i)iban", "(?P<name>pin)", r"(a)\1", "(a+)+", "(a|a)*b", ".*.*.*.*x"]
)
def test_a_name_that_breaks_the_expression_is_refused(name: str) -> None:
    with (
        override_settings(SCHEDULED_TASKS={"REDACT": ["token", name]}),
        pytest.raises(InvalidSettings, match=rf"REDACT.*{re.escape(repr(name))}"),
    ):
        _ = app_settings.REDACT


def test_a_text_is_cut_after_redaction() -> None:
    text = f'{"a" * 5_100} "token": "{SECRET * 1_000}" {"b" * 4_000}'
    clean = redacted_text(text, limit=10_000)
    assert "hunter2" not in clean
    assert len(clean) <= 10_000
    with override_settings(SCHEDULED_TASKS={"MAX_STORED_LENGTH": 500}):
        cut = redacted_json([{"note": "x" * 600, "password": SECRET * 100}])
    assert "hunter2" not in cut


#: No piece of it is a part of anything else.
LONG = "".join(chr(0x4E00 + number) for number in range(300))
HELD: dict[str, Any] = {
    "text": {"password": LONG},
    "plural": {"apiKeys": {"ann": LONG}},
    "object": {"credentials": {"user": "ann", "key": [1, LONG]}},
    "list": {"tokens": ["a", LONG, "b"]},
    "lazy key": {lazystr("password"): LONG},
    "text with a name": [f"a b password={LONG}"],
    "address": [f"postgres://shop:{LONG}@db/shop"],
    "option": ["--password", LONG],
    "pairs": [["a", "b"], ["X-Api-Key", LONG], ["c" * 50, "d" * 50]],
    "pairs in a set": [{("X-Api-Key", LONG), ("a" * 50, "b" * 50), ("c" * 50, "d" * 50)}],
    "name before": {"name": "DB_PASSWORD", "value": LONG},
    "name behind": {"value": LONG, "note": "x" * 50, "name": "DB_PASSWORD"},
}
#: In a text, the name of a value stands before it.
ONLY_IN_JSON = {"name behind"}


@pytest.mark.parametrize("held", HELD)
def test_no_cut_shows_a_secret(held: str) -> None:
    for room in range(-20, 480, 3):
        with override_settings(SCHEDULED_TASKS={"MAX_STORED_LENGTH": 1_000}):
            value = {"data": "x " * ((1_000 - room) // 2), "in": HELD[held]}
            for shown in (redacted_json(value), shown_json(value, limit=1_000)):
                assert not set(LONG) & set(str(shown)), (room, shown)
            if held not in ONLY_IN_JSON:
                shown = redacted_json([1j, value])
                assert not set(LONG) & set(shown), (room, shown)


@given(st.text())
def test_any_text_can_be_looked_through(text: str) -> None:
    assert mask_secrets(mask_secrets(text)) == mask_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "token=" * 20_000,
        "=" * 100_000,
        "token " * 20_000 + "=",
        "://a" * 25_000,
        'password="' * 9_000,
    ],
)
def test_no_text_takes_long(text: Any) -> None:
    begun = time.process_time()
    mask_secrets(text)
    assert time.process_time() - begun < 2
