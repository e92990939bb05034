"""JSON values in, Python values out; what is refused is said in one sentence."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, NewType
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads import PayloadSpec
from tests.handlers.payloads.handlers import (
    CleanupForm,
    Level,
    Rate,
    Region,
    Size,
    WindowForm,
    anything,
    cleanup,
    everything,
    report,
    required,
    window_of,
)

SPEC = PayloadSpec.from_function(everything)
UUID_TEXT = "5b2b5ad4-9d4e-4bd0-a42e-2d3f0c3a8b11"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def sentence(name: str, value: Any, *, spec: PayloadSpec = SPEC) -> str:
    with pytest.raises(InvalidPayload) as caught:
        spec.clean({name: value})
    assert list(caught.value.errors) == [name]
    return " ".join(caught.value.errors[name])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("whole", -7, -7),
        pytest.param("whole", 10**1000, 10**1000, id="1000 digits"),
        ("number", 2, 2.0),
        ("number", 1.5, 1.5),
        ("flag", True, True),
        ("text", "", ""),
        ("text", " as it is ", " as it is "),
        ("day", "2026-02-28", date(2026, 2, 28)),
        ("moment", "2026-02-28T09:00:00Z", datetime(2026, 2, 28, 9, tzinfo=UTC)),
        ("moment", None, None),
        ("clock", "23:59", time(23, 59)),
        ("span", "1 02:00:00", timedelta(days=1, hours=2)),
        ("span", "PT90S", timedelta(seconds=90)),
        ("exact", 1.1, Decimal("1.1")),
        ("exact", "1.10", Decimal("1.10")),
        ("exact", 3, Decimal(3)),
        ("uuid", UUID_TEXT, UUID(UUID_TEXT)),
        ("literal", "slow", "slow"),
        ("literal", 1, 1),
        ("size", "l", Size.LARGE),
        ("level", 2, Level.HIGH),
        ("rate", "FAST", Rate.FAST),
        ("region", "s", Region.SOUTH),
        ("numbers", [], []),
        ("numbers", [1, -2], [1, -2]),
        ("pair", [3, 4], (3, 4)),
        ("names", ["a", "a"], {"a"}),
        ("sequence", ["a"], ["a"]),
        ("mapping", {}, {}),
        ("window", {"start": "x"}, {"start": "x"}),
        ("either", "x", "x"),
        ("either", 5, 5),
        ("untyped", deep(99), deep(99)),
        ("annotated", 3, 3),
        ("shop", 5, 5),
        ("untyped", None, None),
        ("untyped", {"a": [1, None]}, {"a": [1, None]}),
    ],
)
def test_a_json_value_becomes_the_python_value(name: str, value: Any, expected: Any) -> None:
    cleaned = SPEC.clean({name: value})
    assert cleaned == {name: expected}
    assert type(cleaned[name]) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("whole", True, "must be a whole number, not true."),
        ("whole", 1.5, "must be a whole number, not a number."),
        ("whole", "5", "must be a whole number, not text."),
        ("whole", None, "may not be null."),
        pytest.param("whole", 10**5000, "is too large a number.", id="5000 digits"),
        ("number", False, "must be a number, not false."),
        ("number", float("nan"), "must be finite; NaN and Infinity are not JSON."),
        ("number", float("inf"), "must be finite; NaN and Infinity are not JSON."),
        ("number", 10**400, "is too large a number."),
        ("flag", 0, "must be true or false, not 0."),
        ("flag", "true", 'must be true or false, not "true".'),
        ("text", 5, "must be text, not a whole number; put it in double quotes if it is meant."),
        ("text", ["a"], "must be text, not a list."),
        ("text", "a\0", "has a NUL or half a surrogate pair in its text"),
        ("text", "\ud800", "has a NUL or half a surrogate pair in its text"),
        ("day", 20260101, 'must be a date such as "2026-01-31", not a whole number.'),
        ("day", "31.1.2026", 'must be a date such as "2026-01-31".'),
        ("day", "2026-02-30", 'must be a date such as "2026-01-31".'),
        ("moment", "tomorrow", "must be a date and time such as"),
        ("clock", "25:00", 'must be a time of day such as "09:30".'),
        ("clock", "09:00+02:00", 'must be a time of day such as "09:30".'),
        ("span", "soon", "must be a duration such as"),
        ("span", "99999999999999 days", "must be a duration such as"),
        ("span", 30, "must be a duration such as"),
        ("exact", True, "must be a decimal number"),
        ("exact", "NaN", "must be a decimal number"),
        ("exact", "1,5", "must be a decimal number"),
        ("uuid", "1", "must be a UUID such as"),
        ("literal", "fst", 'must be "fast", "slow" or 1, not "fst".'),
        ("literal", True, 'must be "fast", "slow" or 1, not true.'),
        ("size", "SMALL", 'must be "s" or "l", not "SMALL".'),
        ("size", [], 'must be "s" or "l", not [].'),
        ("rate", "FASTER", 'must be "SLOW" or "FAST", not "FASTER".'),
        ("numbers", {}, "must be a list, not an object."),
        ("numbers", "1", "must be a list, not text."),
        ("numbers", [float("nan")], "must be finite; NaN and Infinity are not JSON."),
        ("names", [[1]], "item 1: must be text, not a list."),
        ("mapping", [], "must be an object, not a list."),
        ("mapping", {1: 2}, "has a key that is not text."),
        ("either", None, "may not be null."),
        ("either", 1.5, "must be a whole number or text, not a number."),
        ("pair", [1], "must be a list of 2, not of 1."),
        ("pair", [1, "2"], "item 2: must be a whole number, not text."),
        ("numbers", ["1"], "item 1: must be a whole number, not text."),
        ("mapping", {"a": "1"}, "value of 'a': must be a whole number, not text."),
        ("untyped", deep(100), "is nested more than 100 levels deep."),
        pytest.param("untyped", deep(100_000), "is nested more than 100 levels deep.", id="abyss"),
        ("untyped", date(2026, 1, 1), "is of type date, which cannot be stored as JSON."),
    ],
)
def test_a_json_value_of_another_kind_is_refused(name: str, value: Any, said: str) -> None:
    assert sentence(name, value).startswith(said)


def test_moments_without_offset_are_in_current_zone() -> None:
    with timezone.override(ZoneInfo("Europe/Berlin")):
        moment = SPEC.clean({"moment": "2026-07-01T09:00"})["moment"]
    assert moment == datetime(2026, 7, 1, 7, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-03-29T02:30", "2026-10-25T02:30"])
def test_moments_around_clock_changes_need_an_offset(text: str) -> None:
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert "without an offset" in sentence("moment", text)
        assert SPEC.clean({"moment": f"{text}+02:00"})


def test_an_unknown_argument_names_the_nearest_known() -> None:
    spec = PayloadSpec.from_function(cleanup)
    assert sentence("max_age", 1, spec=spec) == "unknown argument; did you mean max_age_days?"
    assert sentence("zzz", 1, spec=spec).startswith("unknown argument; use one of max_age_days")


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(InvalidPayload) as caught:
        PayloadSpec.from_function(required).clean({"whole": "x", "sise": "s", "text": None})
    assert caught.value.errors == {
        "sise": ["unknown argument; did you mean size?"],
        "text": ["may not be null."],
        "flag": ["required."],
        "size": ["required."],
        "maybe": ["required."],
        "whole": ["must be a whole number, not text."],
    }
    assert "flag: required." in str(caught.value)


def test_the_context_cannot_be_given() -> None:
    with pytest.raises(InvalidPayload, match="context: comes from the scheduler; leave it out"):
        PayloadSpec.from_function(report).clean({"day": "2026-01-01", "context": {}})


@pytest.mark.parametrize("payload", [None, [], "x", 5, [("day", 1)]])
def test_a_payload_that_is_no_object_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidPayload, match="payload: must be an object of arguments, not "):
        SPEC.clean(payload)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidPayload, match="payload: must name its arguments with text"):
        SPEC.clean({1: 2})  # type: ignore[dict-item]


def test_further_arguments_pass_unchanged() -> None:
    payload = {"first": None, "more": [1], "options": {"a": None}, "none": None}
    assert PayloadSpec.from_function(anything).clean(payload) == payload


def test_further_arguments_must_be_json_too() -> None:
    spec = PayloadSpec.from_function(anything)
    with pytest.raises(InvalidPayload, match="more: must be finite"):
        spec.clean({"first": 1, "more": float("inf")})


Many = Enum("Many", {f"M{number}": number for number in range(25)})  # type: ignore[misc]
Alias = TypeAliasType("Alias", NewType("Named", Annotated[date, "of the report"]))  # type: ignore[valid-newtype]


def unusual(many: Many = Many.M1, alias: Alias | None = None) -> None: ...  # type: ignore[valid-type]


def test_aliases_are_seen_through() -> None:
    spec = PayloadSpec.from_function(unusual)
    assert spec.clean({"alias": "2026-01-31"}) == {"alias": date(2026, 1, 31)}


def test_long_choices_are_not_listed_to_the_end() -> None:
    said = sentence("many", 99, spec=PayloadSpec.from_function(unusual))
    assert said.startswith("must be 0, 1, 2, ")
    assert said.endswith("18, 19 or …, not 99.")


def test_a_non_json_payload_is_named_by_type() -> None:
    with pytest.raises(InvalidPayload, match="must be an object of arguments, not set"):
        SPEC.clean(set())  # type: ignore[arg-type]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (SPEC, [each.name for each in SPEC.parameters]),
        (PayloadSpec.from_function(cleanup, form=CleanupForm), list(CleanupForm.base_fields)),
        (PayloadSpec.from_function(window_of, form=WindowForm), list(WindowForm.base_fields)),
    ],
)
def test_any_json_is_cleaned_or_refused_in_words(spec: PayloadSpec, names: list[str]) -> None:
    payloads = st.dictionaries(st.sampled_from(names) | st.text(max_size=5), JSON) | JSON

    @given(payloads)
    def holds(payload: Any) -> None:
        try:
            cleaned = spec.clean(payload)
        except InvalidPayload as error:
            assert all(sentence.strip() for said in error.errors.values() for sentence in said)  # noqa: PT017
        else:
            assert set(cleaned) - {"kinds"} <= set(payload)
            json.dumps(payload)

    holds()
