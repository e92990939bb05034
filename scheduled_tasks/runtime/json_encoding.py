"""How values of Python are written as JSON: in payloads, results, checkpoints and changes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import datetime, time
from enum import Enum, Flag
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal

from django.core.serializers.json import DjangoJSONEncoder

UTC_OFFSET = "+00:00"
#: About 1200 digits. Python refuses to convert integers of more than 4300 digits to text.
MAX_BITS = 4096


class ExactJSONEncoder(DjangoJSONEncoder):
    """Django's encoder, but moments and times of day keep all six digits and their offset.

    Django cuts them to milliseconds. A run that goes on from a moment that was cut would do some
    rows twice, and one that compares it would find other rows.
    """

    def default(self, o: Any) -> Any:
        match o:
            case datetime():
                text = o.isoformat()
                return f"{text.removesuffix(UTC_OFFSET)}Z" if text.endswith(UTC_OFFSET) else text
            case time():
                return o.isoformat()
        return super().default(o)


def plain_form(value: Any, *, having: Literal["init", "repr", "name"]) -> Any:
    """Return what is written of a member of an Enum, a path or a dataclass; else the value itself.

    The values of a dictionary that is returned for a dataclass are as they were. It has the fields
    that have this property: all of them have a name.
    """
    match value:
        case Enum():
            return stored_member(value)
        case PurePath():
            return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: getattr(value, each.name) for each in fields(value) if getattr(each, having)
        }
    return value


def stored_member(member: Enum) -> Any:
    """Return what is stored of a member of an Enum.

    That is the value if all values of that Enum are JSON scalars, so that a member can be renamed;
    otherwise the name.
    """
    return member.value if is_stored_by_value(type(member)) else member.name


@lru_cache(maxsize=256)
def is_stored_by_value(kind: type[Enum]) -> bool:
    return issubclass(kind, Flag) or all(is_scalar(member.value) for member in kind)


def is_scalar(value: Any) -> bool:
    """Whether a value of an Enum is the same after a round trip through JSON."""
    if type(value) is float:
        return math.isfinite(value)
    if type(value) is int:
        return value.bit_length() <= MAX_BITS
    return type(value) is bool or (type(value) is str and is_storable(value))


def is_storable(text: str) -> bool:
    """Whether a text contains neither NUL nor lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def in_order(items: Iterable[Any]) -> list[Any]:
    """Return the items of a set in an order that is the same in all processes."""
    found = list(items)
    try:
        return sorted(found)
    except TypeError:
        return sorted(found, key=str)
