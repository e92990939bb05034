"""Whatever a handler returns or raises can be stored in every database."""

from __future__ import annotations

import json
import math
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.models import Execution
from scheduled_tasks.runtime.sanitizing import sanitized_json, sanitized_text

LONE = "\ud800"
Point = namedtuple("Point", "x y")  # noqa: PYI024 -- the plain kind


class Color(StrEnum):
    RED = "red"


class Number(IntEnum):
    ONE = 1


class Plain(Enum):
    ONE = 1


class Unprintable:
    def __repr__(self) -> str:
        raise ZeroDivisionError("no repr")


class StrangeDict(dict[str, int]):
    def items(self) -> Any:
        raise OSError("no items")


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = [1]
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        ({"a": [1, 2.5, True, None, "ö"]}, {"a": [1, 2.5, True, None, "ö"]}),
        ({1: "a", None: "b", False: "c"}, {"1": "a", "null": "b", "false": "c"}),
        ((1, 2), [1, 2]),
        (Point(1, 2), [1, 2]),
        ({5}, [5]),
        (frozenset(), []),
        (OrderedDict(b=1, a={2}), {"b": 1, "a": [2]}),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00Z"),
        (date(2026, 3, 1), "2026-03-01"),
        (time(12, 30), "12:30:00"),
        (timedelta(minutes=1), "P0DT00H01M00S"),
        ({"sum": Decimal("1.10")}, {"sum": "1.10"}),
        (Decimal("NaN"), "NaN"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (math.nan, "nan"),
        ([math.inf, -math.inf], ["inf", "-inf"]),
        ({math.nan: math.nan}, {"nan": "nan"}),
        ([Color.RED, Number.ONE, Plain.ONE], ["red", 1, 1]),
        (mark_safe("<b>"), "<b>"),
        (lazystr("later"), "later"),
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ({"a\0": [f"{LONE}x"]}, {"a\N{REPLACEMENT CHARACTER}": ["?x"]}),
    ],
)
def test_a_json_value_is_stored_as_json(value: Any, stored: Any) -> None:
    assert sanitized_json(value) == stored


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (b"bytes", "b'bytes'"),
        ({"a": {(1, 2): 3}}, "{'a': {(1, 2): 3}}"),
        ({1: "a", "1": "b"}, "{1: 'a', '1': 'b'}"),
        (
            {"a\0": 1, "a\N{REPLACEMENT CHARACTER}": 2},
            "{'a\\x00': 1, 'a\N{REPLACEMENT CHARACTER}': 2}",
        ),
        (1j, "1j"),
        (circular(), "[1, [...]]"),
        (Unprintable(), "<Unprintable whose repr() raised ZeroDivisionError>"),
        (StrangeDict(a=1), "{'a': 1}"),
        ([10**5000], "[<int of 16610 bits>]"),
    ],
)
def test_a_value_without_json_is_kept_as_text(
    value: Any, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert sanitized_json(value) == stored
    assert "it has no JSON form" in caplog.text


def test_a_lazy_text_that_raises_is_no_failure() -> None:
    class Broken:
        def __str__(self) -> str:
            raise LookupError

    assert isinstance(sanitized_json({"text": lazystr(Broken())}), str)


def test_a_deeply_nested_structure_is_kept_as_text() -> None:
    assert isinstance(sanitized_json(nested(100_000)), str)


def test_a_long_result_is_cut_to_text() -> None:
    with override_settings(SCHEDULED_TASKS={"MAX_STORED_LENGTH": 1000}):
        for value in ("x" * 10_000_000, ["word"] * 1000, {"key": 1j, "long": "x" * 5000}):
            stored = sanitized_json(value)
            assert isinstance(stored, str)
            assert 990 < len(stored) <= 1000
            assert "characters cut" in stored


def test_a_cut_removes_the_middle_and_says_so() -> None:
    cut = sanitized_text("begin" + "-" * 1000 + "end", limit=100)
    assert cut.startswith("begin---")
    assert cut.endswith("---end")
    assert "\n… 908 characters cut …\n" in cut
    assert len(cut) <= 100


@pytest.mark.parametrize("limit", range(1, 40))
def test_a_cut_keeps_any_limit(limit: int) -> None:
    assert len(sanitized_text("x" * 50, limit=limit)) <= limit
    assert sanitized_text("x" * limit, limit=limit) == "x" * limit


def test_text_loses_what_databases_refuse() -> None:
    assert sanitized_text(f"a\0b{LONE}c\udfff😀") == "a\N{REPLACEMENT CHARACTER}b?c?😀"


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(exclude_categories=()))
        | st.binary()
        | st.dates()
        | st.decimals()
        | st.sets(st.integers()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
        max_leaves=20,
    )
)
def test_any_result_is_read_back_as_stored(value: Any) -> None:
    stored = sanitized_json(value)
    text = json.dumps(stored, allow_nan=False, ensure_ascii=False)
    text.encode()
    assert "\0" not in text
    assert "\\u0000" not in text
    assert json.loads(text) == stored
    assert sanitized_json(stored) == stored


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [
        {"a\0": f"{LONE}\0", "n": [math.nan, Decimal("Infinity"), 10**400]},
        nested(90),
        circular(),
        "😀" * 10,
        [10**4000],
        None,
    ],
    ids=["nul and nan", "deep", "circular", "emoji", "many digits", "none"],
)
def test_the_database_takes_it(value: Any, now: datetime) -> None:
    stored = sanitized_json(value)
    row = Execution(task_name="a", scheduled_for=now, run_after=now, created_at=now, result=stored)
    row.save()
    row.refresh_from_db()
    assert row.result == stored
