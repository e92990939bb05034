"""Values of Python that callers pass in a payload, as what JSON can hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder, in_order, plain_form


def as_plain(given: Any) -> Any:
    """Return a value in which only what the JSON encoder knows is left.

    This and ``ArgumentType.read`` are each other's inverse. It needs no annotation, because a task
    may be declared before its handler is known. Raise TypeError or ValueError for keys without a
    text, RecursionError for a value that holds itself.
    """
    match value := plain_form(given, having="init"):
        case str() | int() | float() | None:
            return value
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case Mapping():
            return with_text_keys(value)
        case set() | frozenset():
            return in_order(map(as_plain, value))
        case list() | tuple():
            return [as_plain(item) for item in value]
    return value


def with_text_keys(mapping: Mapping[Any, Any]) -> dict[str, Any]:
    plain = {text_of_key(key): as_plain(value) for key, value in mapping.items()}
    if len(plain) < len(mapping):
        raise ValueError("two of its keys are the same text")
    return plain


def text_of_key(key: Any) -> str:
    """Return the key of an object; JSON knows no other keys than text."""
    stored = json.loads(json.dumps(as_plain(key), cls=ExactJSONEncoder))
    if isinstance(stored, (list, dict)):
        raise TypeError(f"keys must have a text, not be {type(key).__name__}")
    return stored if isinstance(stored, str) else json.dumps(stored)
