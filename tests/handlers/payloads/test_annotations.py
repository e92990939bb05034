"""What an annotation says holds both ways: Python to JSON, and JSON to the handler."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest

from scheduled_tasks import register_task, run_task_now
from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.testing import run_handler
from tests.handlers.payloads.declared_types import (
    DAY,
    MOMENT,
    Access,
    Bits,
    ByHand,
    Color,
    Days,
    Hashed,
    Level,
    Loose,
    Mode,
    Number,
    OnlyNone,
    Pair,
    Point,
    Rate,
    Route,
    Seeded,
    ShopId,
    Tagged,
    Window,
    came_back,
    spec_of,
)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (dict[int, int], {1: 2, -3: 4}),
        (dict[date, list[Decimal]], {DAY: [Decimal("1.10")]}),
        (dict[Color, int], {Color.RED: 1}),
        (dict[Literal[1, "a"], int], {1: 1, "a": 2}),
        (dict[bool, int], {True: 1, False: 0}),
        (dict[UUID, None], {UUID(int=1): None}),
        (None, None),
        (OnlyNone, None),
        (OnlyNone | int, 1),
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
        (Seeded, Seeded(1)),
        (ByHand, ByHand(1)),
        (ByHand, ByHand(1, 2)),
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
        (list[Color], ["g"], 'item 1: must be "r" or "b", not "g".'),
        (list[int], [None], "item 1: may not be null."),
        (tuple[int, date], [1], "must be a list of 2, not of 1."),
        (tuple[int, date], ["1", "2026-01-31"], "item 1: must be a whole number"),
        (set[int], {}, "must be a list, not an object."),
        (set[Any], [[1]], "is refused by set: it can only hold plain values"),
        (Path, 5, 'must be a path such as "/srv/reports", not a whole number.'),
        (bytes, "ü", "must be Base64 text"),
        (Point, {}, "lacks x."),
        (Point, {"x": 1, "z": 2}, "has an unknown key 'z'; use one of x, y."),
        (Route, {"point": []}, "has an unknown key 'point'; did you mean points?"),
        (Point, {"x": "1"}, "x: must be a whole number, not text."),
        (Point, [1, 2], "must be an object, not a list."),
        (Route, {"points": []}, "is refused by Route: a route has points."),
        (Route, {"points": [{"x": None}]}, "points: item 1: x: may not be null."),
        (Pair, ["2026-01-31", 1, 2], "must be a list of 2, not of 3."),
        (Window, {"start": "2026-01-31"}, "lacks zone."),
        (Access, 8, "must be a whole number, the sum of READ=1 WRITE=2."),
        (None, 1, "must be null, not 1."),
        (OnlyNone, 0, "must be null, not 0."),
        (list[None], [None, "x"], 'item 2: must be null, not "x".'),
        (dict[str, None], {"a": {}}, "value of 'a': must be null, not {}."),
        (tuple[()], [1, 2, 3], "must be a list of 0, not of 3."),
        (bool, "true", 'must be true or false, not "true".'),
        (Literal[1, 2], "1", 'must be 1 or 2, not "1".'),
        (Level, "1", 'must be 1, not "1".'),
        (ByHand, {}, "lacks x."),
        (bool | int, 1.5, "must be true or false or a whole number, not a number."),
        (int | list[int], "1", 'must be a whole number or a list, not "1".'),
    ],
)
def test_what_is_not_declared_is_refused(annotation: Any, value: Any, said: str) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        spec_of(annotation).clean({"value": value})
    assert refusal.value.errors["value"][0].startswith(said)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (set[Point], {Point(1, 2)}),
        (set[Pair], {Pair(DAY)}),
        (set[Tagged], {Tagged("a", ["b"])}),
        (set[Hashed], {Hashed(["a"])}),
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
