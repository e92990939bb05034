"""The types of arguments: how each is written in JSON, and typed by a person.

    ArgumentType
    ├── IntegerType       int
    ├── FloatType         float
    ├── TextType          str
    │   └── PathType          Path
    ├── ParsedType        what is text in JSON: date, time, timedelta, UUID, bytes
    │   ├── DecimalType       Decimal, which may be a number in JSON, too
    │   └── DatetimeType      datetime, always aware
    ├── ChoiceType        bool, Literal, Enum; see choices.py
    └── JsonType          any JSON; the bases of lists, objects and unions, see containers.py

``parse`` turns what a person typed into a JSON value, ``read`` a JSON value into the Python value
of the call, ``render`` a JSON value into what a person sees. The first two raise ValueError with a
sentence. The parameter handles null before.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any, NoReturn

from django import forms
from django.core.exceptions import ValidationError
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from scheduled_tasks.handlers.payloads.json_values import (
    RepeatedKeyError,
    StrictDecoder,
    type_name,
)
from scheduled_tasks.handlers.payloads.python_values import as_plain
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder

WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,1000}")


@dataclass(frozen=True, slots=True)
class ArgumentType(ABC):
    """Base of all types. ``name`` is for help texts, ``expected`` completes "must be …"."""

    name: str
    expected: str

    @abstractmethod
    def read(self, value: Any) -> Any:
        """Return the Python value of a JSON value. Raise ValueError for a wrong one."""

    def parse(self, text: str) -> Any:
        """Return the JSON value of what a person typed."""
        return text

    def render(self, value: Any) -> str:
        """Return the text that a person sees for a JSON value."""
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

    def show(self, value: Any) -> str:
        """Return a default, a Python value, as readable text; "" if it has none."""
        if value is None:
            return "none"
        try:
            return self.render(json.loads(json.dumps(as_plain(value), cls=ExactJSONEncoder)))
        except (AttributeError, TypeError, ValueError):
            return ""

    def widget(self) -> forms.Widget:
        return forms.TextInput()

    def refuse(self, value: Any) -> NoReturn:
        """Raise ValueError for a JSON value of another type."""
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
        """Return the number with these digits."""
        if not WHOLE_NUMBER.fullmatch(text.strip()):
            raise ValueError("must be a whole number, in digits.")
        return int(text)

    def widget(self) -> forms.Widget:
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
        """Return the number of the text."""
        try:
            return float(text)
        except ValueError:
            raise ValueError("must be a number such as 1.5.") from None

    def widget(self) -> forms.Widget:
        return forms.NumberInput(attrs={"step": "any"})


@dataclass(frozen=True, slots=True)
class TextType(ArgumentType):
    """Text, unchanged: spaces at its ends are kept."""

    name: str = "text"
    expected: str = "text"

    def read(self, value: Any) -> Any:
        """Return the text. A number is refused, because it is most likely a mistake."""
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
        """Return a default; the empty text is shown as "empty"."""
        return ArgumentType.show(self, value) if value != "" else "empty"


@dataclass(frozen=True, slots=True)
class PathType(TextType):
    """Paths of files, as text."""

    name: str = "path"
    expected: str = 'a path such as "/srv/reports"'
    make: Callable[[str], PurePath] = Path

    def read(self, value: Any) -> Any:
        """Return the path of the text."""
        if not isinstance(value, str):
            ArgumentType.refuse(self, value)
        return self.make(value)


@dataclass(frozen=True, slots=True)
class ParsedType(ArgumentType):
    """Values that are text in JSON. ``convert`` raises, or returns None, for invalid text."""

    convert: Callable[[str], Any]
    input_type: str = "text"

    def read(self, value: Any) -> Any:
        """Return the value of the text."""
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
        """Return the text; a date in the one format that browsers accept."""
        try:
            found = self.read(value)
        except ValueError:
            found = None
        return found.isoformat() if isinstance(found, date) else ArgumentType.render(self, value)

    def widget(self) -> forms.Widget:
        step = {"step": "any"} if self.input_type in {"number", "datetime-local"} else {}
        return forms.TextInput(attrs={"type": self.input_type, **step})


@dataclass(frozen=True, slots=True)
class DecimalType(ParsedType):
    """Decimal numbers, without binary noise: 1.1 is Decimal("1.1")."""

    def read(self, value: Any) -> Any:
        """Return the number of a JSON number or text."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return Decimal(repr(value))
        # Not super(): a slotted dataclass is another class than the one that was decorated.
        return ParsedType.read(self, value)


@dataclass(frozen=True, slots=True)
class DatetimeType(ParsedType):
    """Dates with times. Those without an offset are in the current time zone."""

    def parse(self, text: str) -> Any:
        """Return the text with its offset: the run may have another current time zone."""
        return self.read(text).isoformat()

    def render(self, value: Any) -> str:
        """Return the local time in the current time zone, in the format of browsers."""
        try:
            local = timezone.localtime(self.read(value)).replace(tzinfo=None)
        except (ValueError, OverflowError):
            return ArgumentType.render(self, value)
        # As short as browsers make it, so that an untouched field returns the same text.
        exact = "milliseconds" if local.microsecond else "seconds" if local.second else "minutes"
        return local.isoformat(timespec=exact)


@dataclass(frozen=True, slots=True)
class JsonType(ArgumentType):
    """Any JSON value, or those of one outer type."""

    name: str = "JSON"
    expected: str = "a JSON value"
    outer: type[Any] = object

    def takes(self, value: Any) -> bool:
        """Whether a value has the right outer type."""
        return isinstance(value, self.outer)

    def read(self, value: Any) -> Any:
        """Return the value, if it has the right outer type."""
        if not isinstance(value, self.outer):
            self.refuse(value)
        return value

    def parse(self, text: str) -> Any:
        """Return the JSON value of the text."""
        try:
            return json.loads(text, cls=StrictDecoder)
        except RepeatedKeyError:
            raise
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"must be {self.expected}: {error.msg} at {where}.") from None
        except (ValueError, RecursionError):
            raise ValueError("is too large or too deeply nested.") from None

    def render(self, value: Any) -> str:
        """Return the value as indented JSON."""
        return json.dumps(value, ensure_ascii=False, indent=2 if value else None)

    def show(self, value: Any) -> str:
        """Return a default as JSON in one line."""
        if value is None:
            return "none"
        try:
            return json.dumps(as_plain(value), ensure_ascii=False, cls=ExactJSONEncoder)
        except (AttributeError, TypeError, ValueError):
            return ""

    def widget(self) -> forms.Widget:
        return forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})


def aware(text: str) -> datetime | None:
    """Return the datetime of an ISO text, in the current time zone if it has no offset.

    None if clock changes make it nonexistent or ambiguous.
    """
    moment = parse_datetime(text)
    if moment is None:
        return None
    try:
        return from_current_timezone(moment)
    except ValidationError:
        return None


def quoted(value: Any) -> str:
    """Return a JSON value as one short line: "1" is in quotes, unlike 1."""
    return shorten(json.dumps(value, ensure_ascii=False))


def shorten(text: str, *, limit: int = 60) -> str:
    """Return the text, cut to one short line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
