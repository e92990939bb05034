"""Arguments that are one of a few values: bool, Literal, Enum."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Flag
from typing import Any

from scheduled_tasks.handlers.payloads.argument_types import (
    ArgumentType,
    IntegerType,
    quoted,
    shorten,
)
from scheduled_tasks.handlers.payloads.own_types import refusals_by

SHOWN_OPTIONS = 20


@dataclass(frozen=True, slots=True)
class ChoiceOption:
    """One value of a choice: its label, its JSON value, and what the handler receives."""

    label: str
    stored: str | float | bool
    value: Any


@dataclass(frozen=True, slots=True)
class ChoiceType(ArgumentType):
    """One of a few values."""

    options: tuple[ChoiceOption, ...]

    def read(self, value: Any) -> Any:
        """Return the value of the option with this JSON value; true is not 1."""
        for option in self.options:
            if isinstance(option.stored, bool) is isinstance(value, bool) and (
                option.stored == value
            ):
                return option.value
        raise ValueError(f"must be {self.expected}, not {quoted(value)}.")

    def parse(self, text: str) -> Any:
        if text == "null":
            return None
        if text not in self.choices:
            raise ValueError(f"must be {self.expected}.")
        return self.choices[text].stored

    def render(self, value: Any) -> str:
        """Return the text of the option in the page."""
        # A text is quoted if it could be confused with another value: "1" next to 1, or "null".
        others = {"", "null"} | {
            json.dumps(option.stored)
            for option in self.options
            if not isinstance(option.stored, str)
        }
        return value if isinstance(value, str) and value not in others else json.dumps(value)

    def show(self, value: Any) -> str:
        for option in self.options:
            if type(option.value) is type(value) and option.value == value:
                return option.label.lower() if isinstance(value, bool) else option.label
        return ArgumentType.show(self, value)

    @property
    def choices(self) -> Mapping[str, ChoiceOption]:
        """The options by their text in the page."""
        return {self.render(option.stored): option for option in self.options}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagType(IntegerType):
    """Members of a Flag, combined: stored as the number that their bits make."""

    flag: type[Flag]

    def read(self, value: Any) -> Any:
        """Return the members of the number."""
        number = IntegerType.read(self, value)
        try:
            with refusals_by(self.flag):
                return self.flag(number)
        except ValueError:
            raise ValueError(f"must be {self.expected}.") from None

    def show(self, value: Any) -> str:
        return str(value.name) if isinstance(value, Flag) else ArgumentType.show(self, value)


def flag_type(flag: type[Flag]) -> FlagType:
    """Return the sum of the members of a Flag."""
    bits = " ".join(f"{member.name}={member.value}" for member in flag)
    expected = f"a whole number, the sum of {shorten(bits)}"
    return FlagType(name="sum of flags", expected=expected, flag=flag)


def choice_type(
    options: list[ChoiceOption], *, name: str = "choice", expected: str = ""
) -> ChoiceType:
    """Return a choice whose error message lists its options."""
    said = [json.dumps(option.stored, ensure_ascii=False) for option in options]
    if len(said) > SHOWN_OPTIONS:
        said = [*said[:SHOWN_OPTIONS], "…"]
    listed = " or ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))
    return ChoiceType(name=name, expected=expected or listed, options=tuple(options))
