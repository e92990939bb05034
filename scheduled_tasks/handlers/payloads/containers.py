"""Arguments that hold others: lists, tuples, sets, objects, records, and unions of types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from scheduled_tasks.handlers.payloads.argument_types import (
    ArgumentType,
    FloatType,
    IntegerType,
    JsonType,
    quoted,
    shorten,
)
from scheduled_tasks.handlers.payloads.choices import ChoiceType
from scheduled_tasks.handlers.payloads.json_values import flaw, type_name
from scheduled_tasks.handlers.payloads.own_types import refusals_by
from scheduled_tasks.mistakes import advice

MAX_EXPECTED_LENGTH = 60


@dataclass(frozen=True, slots=True)
class AnnotationMeaning:
    """The type of an argument, and whether it may be null."""

    kind: ArgumentType
    nullable: bool

    def read(self, value: Any) -> Any:
        """Return the Python value of a JSON value, or raise ValueError with a sentence."""
        if value is not None:
            return self.kind.read(value)
        if not self.nullable:
            raise ValueError("may not be null.")
        return None

    @property
    def is_any(self) -> bool:
        """Whether it holds any JSON value."""
        return type(self.kind) is JsonType and self.kind.outer is object


@dataclass(frozen=True, slots=True, kw_only=True)
class ListType(JsonType):
    """A JSON list whose items have one type. ``make`` turns it into a tuple or a set."""

    item: AnnotationMeaning
    make: Callable[[Any], Any] = list

    def read(self, value: Any) -> Any:
        """Return the items in the declared container."""
        items = read_items(JsonType.read(self, value), lambda _: self.item)
        with refusals_by(self.make):
            try:
                return self.make(items)
            except TypeError:
                raise ValueError("it can only hold plain values, no lists or objects") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class TupleType(JsonType):
    """A JSON list of a fixed length, each of whose items has its own type."""

    items: tuple[AnnotationMeaning, ...]

    def read(self, value: Any) -> Any:
        found = JsonType.read(self, value)
        if len(found) != len(self.items):
            raise ValueError(f"must be a list of {len(self.items)}, not of {len(found)}.")
        return tuple(read_items(found, self.items.__getitem__))


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingType(JsonType):
    """A JSON object whose values have one type, and whose keys are read from their text."""

    key: ArgumentType
    item: AnnotationMeaning

    def read(self, value: Any) -> Any:
        found = {}
        for text, item in JsonType.read(self, value).items():
            with within(f"key {shorten(text)!r}"):
                key = read_key(self.key, text)
            if key in found:
                raise ValueError(f"has the key {shorten(text)!r} twice.")
            with within(f"value of {shorten(text)!r}"):
                found[key] = self.item.read(item)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordType(JsonType):
    """A JSON object with known keys: a dataclass, a TypedDict, or a NamedTuple.

    A NamedTuple may also be a list, which is what JSON makes of it.
    """

    make: Callable[..., Any]
    fields: Mapping[str, AnnotationMeaning]
    required: frozenset[str]
    positional: bool = False

    def takes(self, value: Any) -> bool:
        return isinstance(value, (dict, list) if self.positional else dict)

    def read(self, value: Any) -> Any:
        if self.positional and isinstance(value, list):
            if len(value) > len(self.fields):
                raise ValueError(f"must be a list of {len(self.fields)}, not of {len(value)}.")
            value = dict(zip(self.fields, value, strict=False))
        given = JsonType.read(self, value)
        if refusal := self.refusal_of_keys(given):
            raise ValueError(refusal)
        found = {}
        for name, item in given.items():
            with within(name):
                found[name] = self.fields[name].read(item)
        with refusals_by(self.make):
            return self.make(**found)

    def refusal_of_keys(self, given: Mapping[str, Any]) -> str:
        """Return what is wrong with the keys, "" if nothing is."""
        for name in given:
            if name not in self.fields:
                meant = advice(name, self.fields, quoted=False)
                return f"has an unknown key {shorten(name)!r}; {meant}"
        missing = [name for name in self.fields if name in self.required and name not in given]
        return f"lacks {', '.join(missing)}." if missing else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnionType(JsonType):
    """One of several types. The first that can read a value does, so the order is by exactness."""

    members: tuple[ArgumentType, ...]

    def read(self, value: Any) -> Any:
        # A date may be among what is expected, so "text" would not say what is wrong with a text.
        shown = quoted(value) if isinstance(value, str) else type_name(value)
        said = f"must be {self.expected}, not {shown}."
        for member in self.members:
            try:
                return member.read(value)
            except ValueError as error:
                # No other member reads lists, or objects, so its own sentence is the reason.
                if isinstance(member, JsonType) and member.takes(value):
                    said = str(error)
        raise ValueError(said)


@contextmanager
def within(part: str) -> Iterator[None]:
    """Say of an error in a part of a value which part it is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from None


def read_items(items: list[Any], meaning_at: Callable[[int], AnnotationMeaning]) -> list[Any]:
    found = []
    for number, item in enumerate(items):
        with within(f"item {number + 1}"):
            found.append(meaning_at(number).read(item))
    return found


def read_key(kind: ArgumentType, text: str) -> Any:
    """Return the Python value of the key of an object, which is text for numbers, too."""
    if not isinstance(kind, (IntegerType, FloatType, ChoiceType)):
        return kind.read(text)
    stored = kind.parse(text)
    if said := flaw(stored):
        raise ValueError(said)
    return kind.read(stored)


def each(meaning: AnnotationMeaning, what: str, part: str = "each") -> str:
    """Return the name of a container for help texts: "JSON list, each a whole number"."""
    if meaning.is_any or len(meaning.kind.expected) > MAX_EXPECTED_LENGTH:
        return what
    null = " or null" if meaning.nullable and meaning.kind.expected != "null" else ""
    return f"{what}, {part} {meaning.kind.expected}{null}"
