"""Values of Python that callers pass in a payload, as what JSON can hold."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum, Flag
from pathlib import PurePath
from typing import Any

from scheduled_tasks.handlers.payloads.json_values import flaw
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder


def as_plain(value: Any) -> Any:
    """Return a value in which only what the JSON encoder knows is left.

    This and ``ArgumentType.read`` are each other's inverse. It needs no annotation, because a task
    may be declared before its handler is known. Raise TypeError or ValueError for keys without a
    text, RecursionError for a value that holds itself.
    """
    match value:
        case Enum():
            return stored_member(value)
        case str() | int() | float() | None:
            return value
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case PurePath():
            return str(value)
        case Mapping():
            return with_text_keys(value)
        case set() | frozenset():
            return in_order(map(as_plain, value))
        case list() | tuple():
            return [as_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: as_plain(getattr(value, each.name)) for each in fields(value) if each.init
        }
    return value


def stored_member(member: Enum) -> Any:
    """Return what is stored of a member of an Enum.

    That is the value if all values of that Enum are JSON scalars, so that a member can be renamed;
    otherwise the name.
    """
    return member.value if is_stored_by_value(type(member)) else member.name


def is_stored_by_value(kind: type[Enum]) -> bool:
    return issubclass(kind, Flag) or all(is_scalar(member.value) for member in kind)


def is_scalar(value: Any) -> bool:
    """Whether a value of an Enum is the same after a round trip through JSON."""
    return type(value) in {str, int, bool, float} and flaw(value) is None


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


def in_order(items: Any) -> list[Any]:
    """Return the items of a set in an order that is the same in all processes."""
    found = list(items)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)
