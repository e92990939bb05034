"""What an annotation says holds both ways: Python to JSON, and JSON to the handler."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import pytest
from django import forms
from typing_extensions import TypeAliasType

from scheduled_tasks import register_task, run_task_now
from scheduled_tasks.checks import check_handlers
from scheduled_tasks.exceptions import InvalidHandler, InvalidPayload
from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Task
from scheduled_tasks.testing import run_handler


class Color(Enum):
    RED = "r"
    BLUE = "b"


class Rate(Enum):
    SLOW = (1, "minute")


class Level(IntEnum):
    LOW = 1


class Mode(StrEnum):
    SOFT = auto()


class Access(Flag):
    READ = 1
    WRITE = 2


class Bits(IntFlag):
    A = 1
    B = 4


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@dataclass
class Route:
    points: list[Point]
    start: date | None = None
    seen: set[str] = field(default_factory=set)
    length: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("a route has points")


class Pair(NamedTuple):
    day: date
    amount: Decimal = Decimal(0)


class Base(TypedDict):
    start: date


class Window(Base, total=False):
    end: date
    zone: Required[str]


class Loose(TypedDict):
    day: date
    note: NotRequired[str]


ShopId = NewType("ShopId", int)
Days = TypeAliasType("Days", list[date])
Number = TypeAliasType("Number", int | float | None)
Text = NewType("Text", str)
Anything = TypeAliasType("Anything", Text | int)
T = TypeVar("T")
DAY, MOMENT = date(2026, 1, 31), datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)


def spec_of(annotation: Any) -> PayloadSpec:
    def handler(*, value): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202

    handler.__annotations__["value"] = annotation
    return PayloadSpec.from_function(handler)


def came_back(annotation: Any, value: Any) -> Any:
    """Return what the handler receives of what a caller passes, after a stay in the database."""
    stored = json.loads(json.dumps(as_json("payload", {"value": value})))
    return spec_of(annotation).clean(stored)["value"]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (dict[int, int], {1: 2, -3: 4}),
        (dict[date, list[Decimal]], {DAY: [Decimal("1.10")]}),
        (dict[Color, int], {Color.RED: 1}),
        (dict[Literal[1, "a"], int], {1: 1, "a": 2}),
        (dict[bool, int], {True: 1, False: 0}),
        (dict[UUID, None], {UUID(int=1): None}),
        (dict[float, str], {1.5: "a"}),
        (dict[str, Any], {"a": [1, None]}),
        (Mapping[str, int | None], {"a": None}),
        (list[date], [DAY]),
        (list[Color], [Color.RED, Color.BLUE]),
        (list[list[int]], [[1], []]),
        (list[int | None], [1, None]),
        (list, [1, "a", None]),
        (dict, {"a": 1}),
        (tuple[int, date], (1, DAY)),
        (tuple[int, ...], (1, 2, 3)),
        (tuple, (1, "a")),
        (tuple[()], ()),
        (set[int], {1, 2}),
        (set[date], {DAY}),
        (frozenset[Color], frozenset({Color.RED})),
        (AbstractSet[str], {"a", "b"}),
        (Sequence[int], [1]),
        (Iterable[date], [DAY]),
        (Collection[UUID], [UUID(int=2)]),
        (Path, Path("/srv/a b")),
        (PurePosixPath, PurePosixPath("a/b")),
        (bytes, b"\x00\xff"),
        (Point, Point(1, 2)),
        (Route, Route([Point(1), Point(2, 3)], DAY, {"a"})),
        (list[Route], [Route([Point(1)])]),
        (Pair, Pair(DAY, Decimal("1.5"))),
        (Window, {"start": DAY, "zone": "UTC"}),
        (Window, {"start": DAY, "zone": "UTC", "end": DAY}),
        (Loose, {"day": DAY}),
        (Literal["a", 1, True] | None, None),
        (Literal[Color.RED], Color.RED),
        (Color, Color.RED),
        (Rate, Rate.SLOW),
        (Level, Level.LOW),
        (Mode, Mode.SOFT),
        (Access, Access.READ | Access.WRITE),
        (Access, Access(0)),
        (Bits, Bits.A | Bits.B),
        (datetime | date, DAY),
        (datetime | date, MOMENT),
        (date | datetime, MOMENT),
        (bool | int, True),
        (bool | int, 1),
        (int | float, 1),
        (int | float, 1.5),
        (float | int, 1),
        (int | str | None, None),
        (int | str, "1"),
        (time | timedelta, time(9, 30)),
        (time | timedelta, timedelta(days=1, seconds=1)),
        (Decimal | float, Decimal("1.5")),
        (Decimal | date, Decimal(20260131)),
        (UUID | int, UUID(int=3)),
        (Number | str, None),
        (Number | Decimal, Decimal("1.5")),
        (Number | Decimal, 1.5),
        (Color | None, None),
        (Literal["all"] | list[int], [1]),
        (Point | list[Point], [Point(1)]),
        (Annotated[list[date], "days"], [DAY]),
        (ShopId, 5),
        (dict[ShopId, Days], {5: [DAY]}),
        (Days, [DAY]),
        (float, 1.0),
        (datetime, MOMENT),
        (timedelta, timedelta(microseconds=-1)),
        (Any, {"a": 1}),
        (object, 1),
        ("dict[int, Point]", {1: Point(1)}),
    ],
)
def test_what_goes_in_comes_out(annotation: Any, value: Any) -> None:
    found = came_back(annotation, value)
    assert found == value
    assert type(found) is type(value)


def test_items_have_the_declared_type() -> None:
    [(key, [point])] = came_back(dict[int, list[Point]], {1: [Point(1)]}).items()
    assert (type(key), type(point)) == (int, Point)


def test_a_float_is_one_even_if_whole() -> None:
    assert type(came_back(list[float], [1])[0]) is float


def test_a_named_tuple_may_be_an_object() -> None:
    value = {"day": "2026-01-31"}
    assert spec_of(Pair).clean({"value": value})["value"] == Pair(DAY)


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (dict[int, int], {"a": 1}, "key 'a': must be a whole number, in digits."),
        (dict[int, int], {"1": "2"}, "value of '1': must be a whole number, not text."),
        (dict[int, int], {"1": 1, "01": 2}, "has the key '01' twice."),
        (dict[float, int], {"nan": 1}, "key 'nan': must be finite"),
        (dict[date, int], {"x": 1}, "key 'x': must be a date such as"),
        (list[date], ["2026-01-31", "x"], "item 2: must be a date such as"),
        (list[Color], ["g"], 'item 1: must be "r" or "b", not g.'),
        (list[int], [None], "item 1: may not be null."),
        (tuple[int, date], [1], "must be a list of 2, not of 1."),
        (tuple[int, date], ["1", "2026-01-31"], "item 1: must be a whole number"),
        (set[int], {}, "must be a list, not an object."),
        (set[Any], [[1]], "must hold plain values only"),
        (Path, 5, 'must be a path such as "/srv/reports", not a whole number.'),
        (bytes, "ü", "must be Base64 text"),
        (Point, {}, "lacks x."),
        (Point, {"x": 1, "z": 2}, "has an unknown key 'z'; there are x, y."),
        (Route, {"point": []}, "has an unknown key 'point'; did you mean points?"),
        (Point, {"x": "1"}, "x: must be a whole number, not text."),
        (Point, [1, 2], "must be an object, not a list."),
        (Route, {"points": []}, "is refused by Route: a route has points."),
        (Route, {"points": [{"x": None}]}, "points: item 1: x: may not be null."),
        (Pair, ["2026-01-31", 1, 2], "must be a list of 2, not of 3."),
        (Window, {"start": "2026-01-31"}, "lacks zone."),
        (Access, 8, "must be a whole number, the sum of READ=1 WRITE=2."),
        (bool | int, 1.5, "must be true or false or a whole number, not a number."),
        (int | list[int], "1", "must be a whole number or a list, not text."),
    ],
)
def test_what_is_not_declared_is_refused(annotation: Any, value: Any, said: str) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        spec_of(annotation).clean({"value": value})
    assert refusal.value.errors["value"][0].startswith(said)


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
        (dict[list[int], int], "the keys of an object are text"),
        (str | Path, "JSON cannot tell its types apart"),
        (Anything | Path, "JSON cannot tell its types apart"),
        (bytes | str, "JSON cannot tell its types apart"),
        (list[int] | set[int], "JSON cannot tell its types apart"),
        (Point | dict[str, int], "JSON cannot tell its types apart"),
    ],
)
def test_what_json_cannot_hold_is_refused(annotation: Any, said: str) -> None:
    with pytest.raises(InvalidHandler) as refusal:
        spec_of(annotation)
    assert f"of parameter 'value' of {__name__}" in str(refusal.value)
    assert f"cannot be filled from JSON: {said}" in str(refusal.value)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (set[Point], {Point(1, 2)}),
        (set[Pair], {Pair(DAY)}),
        (frozenset[frozenset[int]], frozenset({frozenset({1})})),
        (set[tuple[int, ...] | None], {(1, 2), None}),
        (set[Any], {1, "a"}),
    ],
)
def test_a_set_may_hold_what_cannot_change(annotation: Any, value: Any) -> None:
    assert came_back(annotation, value) == value


def test_further_arguments_have_their_annotation() -> None:
    def handler(first: int = 0, **days: date | None) -> None: ...

    spec = PayloadSpec.from_function(handler)
    given = {"first": 1, "start": "2026-01-31", "end": None}
    assert spec.clean(given) == {"first": 1, "start": DAY, "end": None}
    with pytest.raises(InvalidPayload, match="start: must be a date"):
        spec.clean({"start": "soon"})


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


def typed(*, colors: set[Color], route: Route, days: dict[int, date]) -> list[Any]:
    return [sorted(color.name for color in colors), route.points[0].x, days[2].year]


@pytest.mark.django_db
def test_callers_pass_the_declared_types(registry: HandlerRegistry) -> None:
    registry.register(typed, name="shop.typed")
    route = Route([Point(1)])
    given = {"colors": {Color.RED, Color.BLUE}, "route": route, "days": {1: DAY}}
    task = register_task("typed", "shop.typed", payload=given)
    assert task.payload["colors"] == ["b", "r"]
    execution = run_task_now("typed", given | {"days": {2: DAY}})
    received = registry.get("shop.typed").spec.clean(execution.payload)
    assert received == given | {"days": {2: DAY}}
    assert run_handler(typed, received).result == [["BLUE", "RED"], 1, 2026]


def test_the_form_says_what_is_expected() -> None:
    spec = spec_of(list[date])
    [parameter] = spec.parameters
    assert parameter.help_text == 'JSON list, each a date such as "2026-01-31".'
    form = spec.form({"payload-value": '["2026-01-31", "x"]'})
    assert form.errors["value"] == ['Item 2: must be a date such as "2026-01-31".']
    form = spec.form({"payload-value": '["2026-01-31"]'})
    assert spec.payload_from(form) == {"value": ["2026-01-31"]}
