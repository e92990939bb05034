"""The values of a payload: JSON that every supported database can store."""

from __future__ import annotations

import json
import math
from typing import Any

from scheduled_tasks.runtime.json_encoding import MAX_BITS, is_storable

MAX_DEPTH = 100
TOO_DEEP = f"is nested more than {MAX_DEPTH} levels deep."
#: Of the whole value as text, in characters.
MAX_JSON_LENGTH = 1_000_000
#: Of a key in a sentence, in characters.
MAX_SHOWN_LENGTH = 60
NAMES = {
    type(None): "null",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


class RepeatedKeyError(ValueError):
    """An object has a key twice; the message is a sentence. Python itself keeps the last value."""


class StrictDecoder(json.JSONDecoder):
    """Decodes the JSON that people write. Raise RepeatedKeyError, where JSON allows it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(object_pairs_hook=object_of, **options)


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise RepeatedKeyError(f"has the key {key[:MAX_SHOWN_LENGTH]!r} twice; keep one.")
        found[key] = value
    return found


def flaw(value: Any, *, level: int = 1) -> str | None:
    """Return a sentence that says why a value cannot be stored as JSON, or None if it can.

    ``level`` is 1 for a whole value, and more for a part of one.
    """
    rest = [(value, level)]
    while rest:
        item, depth = rest.pop()
        if said := flaw_of_one(item, depth):
            return said
        match item:
            case dict():
                rest += [(part, depth + 1) for pair in item.items() for part in pair]
            case list():
                rest += [(part, depth + 1) for part in item]
    return None


def flaw_of_one(item: Any, depth: int) -> str | None:
    """Return what is wrong with an item itself, apart from its parts."""
    match item:
        case str() if not is_storable(item):
            return "has a NUL or half a surrogate pair in its text, which cannot be stored."
        case bool() | str() | None:
            return None
        case int() | float():
            return flaw_of_number(item)
        case list() | dict():
            return flaw_of_container(item, depth)
    return f"is of type {type(item).__name__}, which cannot be stored as JSON."


def flaw_of_number(number: float) -> str | None:
    if isinstance(number, int):
        return "is too large a number." if number.bit_length() > MAX_BITS else None
    return None if math.isfinite(number) else "must be finite; NaN and Infinity are not JSON."


def flaw_of_container(container: list[Any] | dict[Any, Any], depth: int) -> str | None:
    """Return what is wrong with a list or an object, apart from its parts."""
    if depth > MAX_DEPTH:
        return TOO_DEEP
    if isinstance(container, dict) and not all(isinstance(key, str) for key in container):
        return "has a key that is not text."
    return None


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal as JSON too, where true is not 1."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def type_name(value: Any) -> str:
    """Return the JSON type of a value in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    for kind, name in NAMES.items():
        if isinstance(value, kind):
            return name
    return type(value).__name__
