"""Types that handlers may declare, and the way of a value to a handler that declares one."""

from __future__ import annotations

import json
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, Flag, IntEnum, IntFlag, StrEnum, auto
from typing import Any, Literal, NamedTuple, NewType, NotRequired, Required, TypedDict, TypeVar

from typing_extensions import TypeAliasType

from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.payloads import PayloadSpec


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


@dataclass
class Seeded:
    x: int
    seed: InitVar[int] = 0


@dataclass(init=False)
class ByHand:
    x: int
    y: int

    def __init__(self, x: int, y: int = 0) -> None:
        self.x, self.y = x, y


@dataclass(frozen=True)
class Tagged:
    name: str
    tags: list[str] = field(default_factory=list, hash=False)


@dataclass(frozen=True)
class Hashed:
    tags: list[str]

    def __hash__(self) -> int:
        return hash(tuple(self.tags))


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
OnlyNone = Literal[None]  # noqa: PYI061
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
