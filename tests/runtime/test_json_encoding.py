"""What a handler stores as JSON comes back as it went in."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils.dateparse import parse_duration
from django.utils.functional import lazy, lazystr

from scheduled_tasks import TaskContext
from scheduled_tasks.exceptions import TimeLimitExceeded
from scheduled_tasks.handlers.declarations import as_json
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder
from scheduled_tasks.runtime.sanitizing import redacted_json, sanitized_json, strict_json
from scheduled_tasks.testing import run_handler

WAYS: dict[str, Callable[[Any], Any]] = {
    "payload": lambda value: as_json("payload", value),
    "result": sanitized_json,
    "shown": redacted_json,
    "checkpoint": strict_json,
}
DAY = date(2026, 1, 31)
ODD_OFFSET = timezone(timedelta(hours=5, minutes=53, seconds=28))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC), datetime.fromisoformat),
        (datetime(2026, 1, 31, 9, 0, 0, 1, tzinfo=UTC), datetime.fromisoformat),
        (datetime(2026, 1, 31, 9, 0, tzinfo=UTC), datetime.fromisoformat),
        (datetime(2026, 1, 31, 9, 0, 0, 999999), datetime.fromisoformat),
        (datetime(1890, 1, 31, 9, 0, 0, 654321, tzinfo=ODD_OFFSET), datetime.fromisoformat),
        (
            datetime(2026, 10, 25, 2, 30, 0, 7, ZoneInfo("Europe/Berlin"), fold=1),
            datetime.fromisoformat,
        ),
        (datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), datetime.fromisoformat),
        (date(2026, 1, 31), date.fromisoformat),
        (time(9, 30, 0, 123456), time.fromisoformat),
        (time(9, 30, 0, 123456, tzinfo=ODD_OFFSET), time.fromisoformat),
        (timedelta(days=1, microseconds=1), parse_duration),
        (timedelta(microseconds=-1), parse_duration),
        (Decimal("1.10"), Decimal),
        (Decimal("1E+30"), Decimal),
        (UUID(int=7), UUID),
        (lazystr("later"), str),
    ],
)
def test_a_value_comes_back_as_it_was(way: str, value: Any, read: Callable[[str], Any]) -> None:
    stored = WAYS[way]({"last": [value]})
    assert in_utc(read(stored["last"][0])) == in_utc(value)


def in_utc(value: Any) -> Any:
    """Return an aware datetime in UTC: in a fold, it equals no moment of another zone."""
    aware = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC) if aware else value


@dataclass(frozen=True)
class Point:
    x: int
    when: date = DAY


class Pair(NamedTuple):
    point: Point
    number: int


class Rate(Enum):
    SLOW = (1, "minute")


class Size(Enum):
    SMALL = "s"


class Access(Flag):
    READ = 1
    WRITE = 2


@pytest.mark.parametrize("way", ["result", "shown", "checkpoint"])
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Rate.SLOW, "SLOW"),
        (Size.SMALL, "s"),
        (Access.READ | Access.WRITE, 3),
        (Point(1), {"x": 1, "when": "2026-01-31"}),
        (Pair(Point(1), 2), [{"x": 1, "when": "2026-01-31"}, 2]),
        ({Size.SMALL: {DAY: [PurePosixPath("/srv")]}}, {"s": {"2026-01-31": ["/srv"]}}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a", 1}), [1, "a", "b"]),
        (MappingProxyType({UUID(int=7): Decimal("1.10")}), {str(UUID(int=7)): "1.10"}),
    ],
    ids=lambda _: "",
)
def test_runs_store_the_json_of_payloads(way: str, value: Any, stored: Any) -> None:
    assert WAYS[way](value) == WAYS["payload"](value) == stored


@dataclass
class Login:
    rows: int
    connection: str = field(repr=False)
    done: int = field(init=False, default=0)


def test_the_fields_of_dataclasses() -> None:
    login = Login(1, "hunter2xyz")
    login.done = 5
    shown, taken = {"rows": 1, "done": 5}, {"rows": 1, "connection": "hunter2xyz"}
    assert redacted_json(login) == sanitized_json(login) == shown
    assert redacted_json([login, 1j]) == "[Login(rows=1, done=5), 1j]"
    assert as_json("payload", login) == taken
    assert strict_json([login]) == [taken | {"done": 5}]


def test_bytes_of_checkpoints_come_back() -> None:
    value = {"cursor": b"\x00\xff", "more": bytearray(b"x")}
    assert strict_json(value) == as_json("payload", value) == {"cursor": "AP8=", "more": "eA=="}


def test_keys_that_become_the_same_text_are_refused() -> None:
    for value in ({1: "a", "1": "b"}, [{None: 1, "null": 2}], {DAY: 1, str(DAY): 2}):
        with pytest.raises(TypeError, match="two of its keys are the same text"):
            strict_json(value)
        assert redacted_json(value) == repr(value)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"min": math.inf}, "JSON has no number inf; use None or a text instead"),
        ([-math.inf], "JSON has no number -inf; use None or a text instead"),
        ({math.nan: 1}, "JSON has no number nan; use None or a text instead"),
        ("a\0", "replace these characters, or use bytes"),
        ({"a\ud800": 1}, "replace these characters, or use bytes"),
        ([{"file": "a\udcff"}], "replace these characters, or use bytes"),
    ],
    ids=lambda _: "",
)
def test_a_checkpoint_that_would_change_is_refused(value: Any, why: str) -> None:
    with pytest.raises(TypeError, match=re.escape(why)):
        strict_json(value)


def test_a_result_with_an_infinity_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert redacted_json({"min": math.inf, "rows": 1}) == {"min": "inf", "rows": 1}
    [said] = caplog.messages
    assert said.endswith("JSON has no number inf; use None or a text instead")


def test_bytes_of_results_hide_their_secrets() -> None:
    assert redacted_json(b"password=hunter2xyz") == "b'password=[redacted]'"


def test_a_dataclass_that_holds_itself_is_no_json() -> None:
    @dataclass
    class Node:
        inside: Any = None

    node = Node()
    node.inside = [node]
    assert "Node(inside=[...])" in redacted_json(node)
    with pytest.raises(TypeError, match="it contains itself"):
        strict_json(node)


def test_utc_is_written_with_a_letter() -> None:
    text = json.dumps(datetime(2026, 1, 31, tzinfo=UTC), cls=ExactJSONEncoder)
    assert text == '"2026-01-31T00:00:00Z"'


def test_a_run_receives_and_returns_each_microsecond(registry: HandlerRegistry) -> None:
    moment = datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC)

    def resume(context: TaskContext, *, since: datetime) -> dict[str, Any]:
        context.checkpoint = {"last": since}
        return {"since": since, "same": since == moment}

    registry.register(resume)
    run = run_handler(resume, {"since": moment})
    assert run.result == {"since": "2026-01-31T09:00:00.123456Z", "same": True}
    assert run.checkpoint == {"last": "2026-01-31T09:00:00.123456Z"}


def test_a_stop_reaches_a_handler_that_stores_checkpoints() -> None:
    def late() -> str:
        raise TimeLimitExceeded

    with pytest.raises(TimeLimitExceeded):
        strict_json([lazy(late, str)()])
    assert isinstance(redacted_json([lazy(late, str)()]), str)
