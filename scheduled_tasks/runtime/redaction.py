"""Masks secrets in texts and JSON: values next to names such as "password"."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from scheduled_tasks.conf import app_settings, joined

MARK = "[redacted]"

SCHEME = "(?:basic|bearer|digest|negotiate|token)"
#: What stands between a name and its value, including the scheme of an authorization.
BETWEEN = (
    r"(?P<between>\\*[\"']?\s*(?:=>|=(?!=)|:(?![/:]))\s*"
    rf"(?:{SCHEME}\s+)?)(?!{SCHEME}\s)"
)
#: A value: quoted, also within quotes or unterminated, or up to the next separator.
VALUE = (
    r"""(?:[bru]{0,2}(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z))"""
    r"""|\\+(?P<quote>["'])(?:(?!\\+(?P=quote)).)*(?:\\+(?P=quote)|\Z)"""
    r"""|[^\s"',;&<>(){}\[\]]+)"""
)
#: Headers whose whole line is the value.
IN_HEADER = r"(?P<header>\b(?:(?:set-)?cookie|(?:proxy-)?authorization):[ ]*)(?![\"'])[^\r\n]+"
#: The password in a URL.
IN_ADDRESS = r"(?P<address>://[^\s/:@]*:)[^\s/]+(?=@)"


def mask_secrets(text: str) -> str:
    """Return the text with the values next to names in REDACT masked.

    Passwords in URLs are masked as well: ``postgres://shop:[redacted]@db``.
    """
    # Each pattern needs one of them, and this test costs far less than the patterns.
    if ":" not in text and "=" not in text:
        return text
    return name_and_value(app_settings.REDACT).sub(mask_value, text)


def mask_secrets_in_json(value: Any) -> Any:
    """Return a JSON value with the values of keys in REDACT masked, and secrets in its texts."""
    match value:
        case dict():
            names = name_at_end(app_settings.REDACT)
            return {
                key: MARK
                if item is not None and names.search(str(key))
                else mask_secrets_in_json(item)
                for key, item in value.items()
            }
        case list():
            return [mask_secrets_in_json(item) for item in value]
        case str():
            return mask_secrets(value)
    return value


def mask_value(found: re.Match[str]) -> str:
    kept = found["header"] or found["address"] or f"{found['name']}{found['between']}"
    return f"{kept}{MARK}"


@cache
def name_and_value(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of a name that is followed by a value."""
    named = rf"(?P<name>(?:{joined(names)})(?!\w)){BETWEEN}{VALUE}"
    return re.compile(f"{IN_HEADER}|{named}|{IN_ADDRESS}", re.IGNORECASE)


@cache
def name_at_end(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of a name at the end of a key."""
    return re.compile(rf"(?:{joined(names)})\Z", re.IGNORECASE)
