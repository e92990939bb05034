"""What nobody should read, taken out of what runs say: values beside names such as "password"."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from scheduled_tasks.conf import app_settings, joined

MARK = "[redacted]"

SCHEME = "(?:basic|bearer|digest|negotiate|token)"
#: What stands between a name and its value, the scheme of an authorization included.
BETWEEN = (
    r"(?P<between>\\*[\"']?\s*(?:=>|=(?!=)|:(?![/:]))\s*"
    rf"(?:{SCHEME}\s+)?)(?!{SCHEME}\s)"
)
#: A value: quoted, also within quotes or without an end, or up to what separates it from the next.
VALUE = (
    r"""(?:[bru]{0,2}(?:"(?:[^"\\]|\\.)*(?:"|\Z)|'(?:[^'\\]|\\.)*(?:'|\Z))"""
    r"""|\\+(?P<quote>["'])(?:(?!\\+(?P=quote)).)*(?:\\+(?P=quote)|\Z)"""
    r"""|[^\s"',;&<>(){}\[\]]+)"""
)
#: Headers of which the whole line is the value.
IN_HEADER = r"(?P<header>\b(?:(?:set-)?cookie|(?:proxy-)?authorization):[ ]*)(?![\"'])[^\r\n]+"
#: The password in the address of a server.
IN_ADDRESS = r"(?P<address>://[^\s/:@]*:)[^\s/]+(?=@)"


def mask_secrets(text: str) -> str:
    """Return the text without the values that stand beside names in REDACT.

    Passwords within addresses go, too: ``postgres://shop:[redacted]@db``.
    """
    if ":" not in text and "=" not in text:
        return text
    return beside_names(app_settings.REDACT).sub(without_value, text)


def mask_secrets_in_json(value: Any) -> Any:
    """Return a JSON value without what stands under keys in REDACT, or beside them in its texts."""
    match value:
        case dict():
            names = names_alone(app_settings.REDACT)
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


def without_value(found: re.Match[str]) -> str:
    kept = found["header"] or found["address"] or f"{found['name']}{found['between']}"
    return f"{kept}{MARK}"


@cache
def beside_names(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds names that are followed by a value."""
    named = rf"(?P<name>(?:{joined(names)})(?!\w)){BETWEEN}{VALUE}"
    return re.compile(f"{IN_HEADER}|{named}|{IN_ADDRESS}", re.IGNORECASE)


@cache
def names_alone(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds a name at the end of a key."""
    return re.compile(rf"(?:{joined(names)})\Z", re.IGNORECASE)
