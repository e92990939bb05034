"""From the annotation of a parameter to the type of its argument."""

from __future__ import annotations

import types
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from inspect import Parameter
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, is_typeddict
from uuid import UUID

from django.utils.dateparse import parse_duration

from scheduled_tasks.handlers.payloads.argument_types import (
    ArgumentType,
    DatetimeType,
    DecimalType,
    FloatType,
    IntegerType,
    JsonType,
    ParsedType,
    TextType,
    aware,
)
from scheduled_tasks.handlers.payloads.choices import ChoiceOption, ChoiceType, choice_type
from scheduled_tasks.handlers.payloads.json_values import flaw


@dataclass(frozen=True, slots=True)
class AnnotationMeaning:
    """The type of an argument, and whether it may be null."""

    kind: ArgumentType
    nullable: bool


def read_annotation(annotation: Any) -> AnnotationMeaning:
    """Return the argument type of an annotation, and whether it allows null."""
    bare = unwrap(annotation)
    match bare:
        case Parameter.empty | None | types.NoneType:
            return AnnotationMeaning(JsonType(), nullable=True)
        case _ if bare is Any or bare is object:
            return AnnotationMeaning(JsonType(), nullable=True)
    origin = get_origin(bare)
    if origin is Union or origin is types.UnionType:
        return read_union(get_args(bare))
    if origin is Literal:
        values = get_args(bare)
        return AnnotationMeaning(choice_type_of(values), nullable=None in values)
    return AnnotationMeaning(argument_type_of(bare, origin), nullable=False)


def unwrap(annotation: Any) -> Any:
    """Return the type inside Annotated, NewType and ``type`` statements."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            # By name, because ``typing`` has this class only from Python 3.12 on.
            annotation = annotation.__value__
        else:
            return annotation


def read_union(members: tuple[Any, ...]) -> AnnotationMeaning:
    """Return the type of an Optional. Other unions are JSON: the handler tells them apart."""
    others = [member for member in members if member is not types.NoneType]
    readings = [read_annotation(member) for member in others]
    nullable = len(others) < len(members) or any(reading.nullable for reading in readings)
    return AnnotationMeaning(
        readings[0].kind if len(readings) == 1 else JsonType(), nullable=nullable
    )


def argument_type_of(annotation: Any, origin: Any) -> ArgumentType:
    if annotation in PLAIN:
        return PLAIN[annotation]()
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return choice_type_of(tuple(annotation))
    outer = origin or annotation
    if is_typeddict(outer):
        return an_object()
    if outer in LISTS:
        return a_list()
    if outer in CONVERTED:
        return a_list(convert=CONVERTED[outer])
    return an_object() if outer in OBJECTS else JsonType()


def a_list(*, convert: Callable[[Any], Any] | None = None) -> JsonType:
    return JsonType(name="JSON list", expected="a list", outer=list, convert=convert)


def an_object() -> JsonType:
    return JsonType(name="JSON object", expected="an object", outer=dict)


def choice_type_of(values: tuple[Any, ...]) -> ChoiceType:
    """Return the choice among the values of a Literal or the members of an Enum."""
    return choice_type([option_of(value) for value in values if value is not None])


def option_of(value: Any) -> ChoiceOption:
    """Return the option of a value.

    Members of an Enum are stored by value if all values of that Enum are JSON scalars, so that a
    member can be renamed; otherwise by name.
    """
    if not isinstance(value, Enum):
        return ChoiceOption(label=str(value), stored=value, value=value)
    by_value = all(is_scalar(member.value) for member in type(value))
    label = str(getattr(value, "label", value.value if by_value else value.name))
    return ChoiceOption(label=label, stored=value.value if by_value else value.name, value=value)


def is_scalar(value: Any) -> bool:
    """Whether a value of an Enum is the same after a round trip through JSON."""
    return type(value) in {str, int, bool, float} and flaw(value) is None


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


LISTS = {list, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection}
OBJECTS = {dict, abc.Mapping, abc.MutableMapping}
CONVERTED: Mapping[Any, Callable[[Any], Any]] = {
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    abc.Set: set,
    abc.MutableSet: set,
}
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
}
