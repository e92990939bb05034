"""An annotation that JSON cannot fill is refused where the handler is registered."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import InitVar, dataclass
from datetime import date
from enum import Enum, Flag
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple

import pytest
from django import forms

from scheduled_tasks.checks import check_handlers
from scheduled_tasks.exceptions import InvalidHandler
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task
from tests.handlers.payloads.declared_types import (
    Anything,
    Loose,
    Point,
    Route,
    T,
    came_back,
    spec_of,
)


@dataclass
class Tree:
    children: list[Tree]


class Box(Generic[T]):
    pass


class Plain:
    pass


@dataclass
class Odd:
    inner: Plain


class Listed(NamedTuple):
    days: list[date]


@dataclass
class Salted:
    x: int
    salt: InitVar[int]


@dataclass(init=False)
class FromText:
    x: int

    def __init__(self, text: str) -> None:
        self.x = int(text)


@dataclass(init=False)
class Fixed:
    x: int

    def __init__(self) -> None:
        self.x = 1


@dataclass
class Shape(ABC):
    sides: int

    @abstractmethod
    def area(self) -> float: ...


@dataclass
class Mistyped:
    x: "1 / 0"  # type: ignore[valid-type]  # noqa: UP037


class Empty(Enum):
    pass


class NoBits(Flag):
    pass


@dataclass(frozen=True)
class Frozen:
    days: list[int]


NOT_IN_A_SET = "a set cannot hold lists, sets, dictionaries or unfrozen dataclasses"


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Callable[[], None], "it has no JSON form; use a dataclass"),
        (Plain, "it has no JSON form"),
        (Box[int], "it has no JSON form"),
        (T, "it has no JSON form"),
        (complex, "it has no JSON form"),
        (list[Plain], "it has no JSON form"),
        (Plain | None, "it has no JSON form"),
        (type[int], "it has no JSON form"),
        (Odd, "its field inner: it has no JSON form"),
        (Task, "a row has no JSON form; take its primary key"),
        (list[Task], "a row has no JSON form"),
        (Tree, "its field children: it refers to itself"),
        (dict[Point, int], "the keys of an object are text"),
        (dict[int | None, int], "the keys of an object are text"),
        (Literal[b"x"], "b'x' has no JSON form"),
        (set[list[int]], NOT_IN_A_SET),
        (frozenset[dict[str, int]], NOT_IN_A_SET),
        (list[set[set[int]]], NOT_IN_A_SET),
        (AbstractSet[tuple[int, list[int]]], NOT_IN_A_SET),
        (set[tuple[frozenset[dict[str, int]], ...]], NOT_IN_A_SET),
        (set[int | list[int]], NOT_IN_A_SET),
        (set[Route], NOT_IN_A_SET),
        (set[Loose], NOT_IN_A_SET),
        (set[Listed], NOT_IN_A_SET),
        (set[Frozen], NOT_IN_A_SET),
        (set[tuple[Frozen, int]], NOT_IN_A_SET),
        (dict[list[int], int], "the keys of an object are text"),
        (str | Path, "JSON cannot tell its types apart"),
        (Anything | Path, "JSON cannot tell its types apart"),
        (bytes | str, "JSON cannot tell its types apart"),
        (list[int] | set[int], "JSON cannot tell its types apart"),
        (Point | dict[str, int], "JSON cannot tell its types apart"),
        (list[int] | Listed, "JSON cannot tell its types apart"),
        (tuple[int, int] | Listed | None, "JSON cannot tell its types apart"),
        (Listed | Point, "JSON cannot tell its types apart"),
        (Salted, "it cannot be made without salt, which is not a field"),
        (FromText, "it cannot be made without text, which is not a field"),
        (Fixed, "it cannot be made with x, although that is a field"),
        (list[Shape], "it is abstract"),
        (Mistyped, "its fields cannot be resolved (division by zero)"),
        (Empty, "it has no members"),
        (NoBits, "it has no members"),
        (Enum, "it has no members"),
    ],
)
def test_what_json_cannot_hold_is_refused(annotation: Any, said: str) -> None:
    with pytest.raises(InvalidHandler) as refusal:
        spec_of(annotation)
    assert f"of parameter 'value' of {spec_of.__module__}" in str(refusal.value)
    assert f"cannot be filled from JSON: {said}" in str(refusal.value)


def test_further_arguments_json_cannot_hold_are_refused() -> None:
    def handler(**tasks: Task) -> None: ...

    with pytest.raises(InvalidHandler, match=r"'tasks' of .* a row has no JSON form"):
        PayloadSpec.from_function(handler)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 has no type statement")
def test_a_type_statement_may_not_refer_to_itself() -> None:
    names: dict[str, Any] = {}
    exec("type Days = list[int]; type Endless = list[Endless] | int", names)
    assert came_back(names["Days"], [1]) == [1]
    with pytest.raises(InvalidHandler, match="it refers to itself"):
        spec_of(names["Endless"])


def of_a_row(*, task: Task) -> None: ...


def test_the_system_check_names_handler_and_parameter(registry: HandlerRegistry) -> None:
    registry.register(of_a_row)
    [error] = check_handlers()
    assert error.id == "scheduled_tasks.E004"
    assert "'task' of" in error.msg
    assert "take its primary key" in error.msg


class RowForm(forms.Form):
    task = forms.ModelChoiceField(Task.objects.all())


def test_a_form_may_supply_what_json_cannot() -> None:
    assert PayloadSpec.from_function(of_a_row, form=RowForm).names == ["task"]
