"""The kinds of arguments: how each is said in JSON, and typed by a person.

    Kind
    ├── Whole      int
    ├── Number     float
    ├── Text       str
    ├── Parsed     what JSON says as text: date, time, timedelta, UUID
    │   ├── Exact      Decimal, said as a number too
    │   └── Moment     datetime, always aware
    ├── Choice     bool, Literal, Enum; see choices.py
    └── Json       everything else

``parse`` turns what a person typed into a JSON value, ``read`` a JSON value into the Python value
of the call, ``render`` a JSON value into what the person is shown. The first two raise ValueError
with a sentence. Null is dealt with before, by the parameter.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NoReturn

from django import forms
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from scheduled_tasks.handlers.payloads.json_values import type_name

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,1000}")


@dataclass(frozen=True, slots=True)
class ArgumentType(ABC):
    """Base of all kinds. ``name`` is for help texts, ``expected`` completes "must be …"."""

    name: str
    expected: str

    @abstractmethod
    def read(self, value: Any) -> Any:
        """Return the Python value of a JSON value; raise ValueError for one it cannot be."""

    def parse(self, text: str) -> Any:
        """Return the JSON value of what a person typed."""
        return text

    def render(self, value: Any) -> str:
        """Return what a person is shown of a JSON value."""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def show(self, value: Any) -> str:
        """Return a default, which is a Python value, for people to read; "" if it says nothing."""
        if value is None:
            return "none"
        try:
            return self.render(json.loads(json.dumps(value, cls=DjangoJSONEncoder)))
        except (TypeError, ValueError):
            return ""

    def widget(self) -> forms.Widget:
        """Return the widget in which a person types."""
        return forms.TextInput()

    def refuse(self, value: Any) -> NoReturn:
        """Raise ValueError for a JSON value that is not of this kind."""
        raise ValueError(f"must be {self.expected}, not {type_name(value)}.")


@dataclass(frozen=True, slots=True)
class IntegerType(ArgumentType):
    """Whole numbers, of any size that can be stored."""

    name: str = "whole number"
    expected: str = "a whole number"

    def read(self, value: Any) -> Any:
        """Return the number; true and 1.5 are not whole numbers."""
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(value)
        return value

    def parse(self, text: str) -> Any:
        """Return the number that the digits say."""
        if not WHOLE_NUMBER.fullmatch(text.strip()):
            raise ValueError("must be a whole number, in digits.")
        return int(text)

    def widget(self) -> forms.Widget:
        """Return an input for numbers."""
        return forms.NumberInput(attrs={"step": 1})


@dataclass(frozen=True, slots=True)
class FloatType(ArgumentType):
    """Floating point numbers."""

    name: str = "number"
    expected: str = "a number"

    def read(self, value: Any) -> Any:
        """Return the number as a float."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.refuse(value)
        try:
            return float(value)
        except OverflowError:
            raise ValueError("is too large a number.") from None

    def parse(self, text: str) -> Any:
        """Return the number that the text says."""
        try:
            return float(text)
        except ValueError:
            raise ValueError("must be a number such as 1.5.") from None

    def widget(self) -> forms.Widget:
        """Return an input for numbers."""
        return forms.NumberInput(attrs={"step": "any"})


@dataclass(frozen=True, slots=True)
class TextType(ArgumentType):
    """Text, taken as it is: blanks at its ends are kept."""

    name: str = "text"
    expected: str = "text"

    def read(self, value: Any) -> Any:
        """Return the text; a number is most likely a mistake."""
        if not isinstance(value, str):
            self.refuse(value)
        return value

    def refuse(self, value: Any) -> NoReturn:
        """Raise ValueError, with advice for numbers."""
        advice = (
            "; put it in double quotes if it is meant" if isinstance(value, int | float) else ""
        )
        raise ValueError(f"must be text, not {type_name(value)}{advice}.")

    def show(self, value: Any) -> str:
        """Return a default, with a word for the empty text."""
        return ArgumentType.show(self, value) if value != "" else "empty"


@dataclass(frozen=True, slots=True)
class ParsedType(ArgumentType):
    """What JSON says as text. ``convert`` raises, or returns None, for text that it refuses."""

    convert: Callable[[str], Any]
    input_type: str = "text"

    def read(self, value: Any) -> Any:
        """Return what the text says."""
        if not isinstance(value, str):
            self.refuse(value)
        try:
            found = self.convert(value.strip())
        except (ValueError, ArithmeticError):
            found = None
        if found is None:
            raise ValueError(f"must be {self.expected}.")
        return found

    def render(self, value: Any) -> str:
        """Return the text; that of a date in the one form that browsers take."""
        try:
            found = self.read(value)
        except ValueError:
            found = None
        return found.isoformat() if isinstance(found, date) else ArgumentType.render(self, value)

    def widget(self) -> forms.Widget:
        """Return the input that browsers have for this kind."""
        step = {"step": "any"} if self.input_type in {"number", "datetime-local"} else {}
        return forms.TextInput(attrs={"type": self.input_type, **step})


@dataclass(frozen=True, slots=True)
class DecimalType(ParsedType):
    """Decimal numbers, without binary noise: 1.1 is Decimal("1.1")."""

    def read(self, value: Any) -> Any:
        """Return the number that the JSON number or text says."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Decimal(repr(value))
        # Called by name, for a slotted dataclass is another class than the one decorated.
        return ParsedType.read(self, value)


@dataclass(frozen=True, slots=True)
class DatetimeType(ParsedType):
    """Moments. Those without an offset are in the current time zone."""

    def parse(self, text: str) -> Any:
        """Return the moment with its offset: whoever runs it may have another current zone."""
        return self.read(text).isoformat()

    def render(self, value: Any) -> str:
        """Return the wall clock time in the current time zone, as browsers want it."""
        try:
            local = timezone.localtime(self.read(value)).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return ArgumentType.render(self, value)
        # As short as browsers make it, so that a field that nobody touched comes back the same.
        exact = "milliseconds" if local.microsecond else "seconds" if local.second else "minutes"
        return local.isoformat(timespec=exact)


@dataclass(frozen=True, slots=True)
class JsonType(ArgumentType):
    """Any JSON value, or those of one outer type. ``convert`` makes a tuple or a set of a list."""

    name: str = "JSON"
    expected: str = "a JSON value"
    outer: type[Any] = object
    convert: Callable[[Any], Any] | None = None

    def read(self, value: Any) -> Any:
        """Return the value, if its outer type is the right one."""
        if not isinstance(value, self.outer):
            self.refuse(value)
        try:
            return value if self.convert is None else self.convert(value)
        except TypeError:
            raise ValueError("must hold plain values only, no lists or objects.") from None

    def parse(self, text: str) -> Any:
        """Return the JSON value that the text says."""
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"must be {self.expected}: {error.msg} at {where}.") from None
        except (ValueError, RecursionError):
            raise ValueError("is too large or too deeply nested.") from None

    def render(self, value: Any) -> str:
        """Return the value as JSON, laid out."""
        return json.dumps(value, ensure_ascii=False, indent=2 if value else None)

    def show(self, value: Any) -> str:
        """Return a default as JSON in one line."""
        if value is None:
            return "none"
        if isinstance(value, (set, frozenset)):
            value = sorted(value, key=str)
        try:
            return json.dumps(value, ensure_ascii=False, cls=DjangoJSONEncoder)
        except (TypeError, ValueError):
            return ""

    def widget(self) -> forms.Widget:
        """Return a text area."""
        return forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})


def aware(text: str) -> datetime | None:
    """Return the moment that ISO text says, in the current time zone if it has no offset.

    None if there is no such moment, or two, because clocks are changed.
    """
    moment = parse_datetime(text)
    if moment is None:
        return None
    try:
        return from_current_timezone(moment)
    except ValidationError:
        return None


def shorten(text: str, *, limit: int = 60) -> str:
    """Return the text, cut to one short line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
