"""The annotations that stand for one value: numbers, texts, moments, paths."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path, PosixPath, PurePath, PurePosixPath
from typing import Any
from uuid import UUID

from django.utils.dateparse import parse_duration

from scheduled_tasks.handlers.payloads.argument_types import (
    ArgumentType,
    DatetimeType,
    DecimalType,
    FloatType,
    IntegerType,
    ParsedType,
    PathType,
    TextType,
    aware,
)
from scheduled_tasks.handlers.payloads.choices import ChoiceOption, ChoiceType, choice_type


def clock_time(text: str) -> time | None:
    """Return the time of day of an ISO text, None if it has an offset, which means nothing."""
    found = time.fromisoformat(text)
    return found if found.tzinfo is None else None


def finite(text: str) -> Decimal | None:
    """Return the decimal number of a text, None if it is not finite."""
    found = Decimal(text)
    return found if found.is_finite() else None


def flag() -> ChoiceType:
    """Return the choice between true and false."""
    return choice_type(
        [
            ChoiceOption("Yes", stored=True, value=True),
            ChoiceOption("No", stored=False, value=False),
        ],
        name="yes or no",
        expected="true or false",
    )


def from_base64(text: str) -> bytes:
    """Return the bytes of a Base64 text. Raise ValueError for other characters."""
    return base64.b64decode(text, validate=True)


PLAIN: Mapping[Any, Callable[[], ArgumentType]] = {
    bool: flag,
    int: IntegerType,
    float: FloatType,
    str: TextType,
    date: partial(ParsedType, "date", 'a date such as "2026-01-31"', date.fromisoformat, "date"),
    datetime: partial(
        DatetimeType,
        "date and time",
        'a date and time such as "2026-01-31T09:00:00+00:00"; without an offset, '
        "one that comes exactly once in the current time zone",
        aware,
        "datetime-local",
    ),
    time: partial(ParsedType, "time of day", 'a time of day such as "09:30"', clock_time),
    timedelta: partial(
        ParsedType, "duration", 'a duration such as "1 02:30:00" or "P1DT2H30M"', parse_duration
    ),
    Decimal: partial(
        DecimalType, "decimal number", 'a decimal number such as "1.10"', finite, "number"
    ),
    UUID: partial(ParsedType, "UUID", "a UUID such as 00000000-0000-4000-8000-000000000000", UUID),
    bytes: partial(ParsedType, "bytes", 'Base64 text such as "aGVsbG8="', from_base64),
    **{kind: partial(PathType, make=kind) for kind in (Path, PosixPath, PurePath, PurePosixPath)},
}
