"""What a person types, stored as JSON and read back, is the Python value that was meant."""

from __future__ import annotations

import json
from datetime import UTC
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.utils import timezone
from django.utils.duration import duration_iso_string
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.handlers.payloads import PayloadSpec
from tests.handlers.payloads.handlers import Level, Rate, Region, Size, everything

SPEC = PayloadSpec.from_function(everything)
WHOLE_SECONDS = st.datetimes(timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1)
VALUES: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "whole": (st.integers(), str),
    "number": (st.floats(allow_nan=False, allow_infinity=False), repr),
    "flag": (st.booleans(), json.dumps),
    "text": (TEXT, str),
    "day": (st.dates(), str),
    "moment": (WHOLE_SECONDS, lambda moment: moment.isoformat()),
    "clock": (st.times(), lambda clock: clock.isoformat()),
    "span": (st.timedeltas(), duration_iso_string),
    "exact": (st.decimals(allow_nan=False, allow_infinity=False), str),
    "uuid": (st.uuids(), str),
    "literal": (st.sampled_from(["fast", "slow", 1]), str),
    "size": (st.sampled_from(Size), lambda member: member.value),
    "level": (st.sampled_from(Level), lambda member: str(member.value)),
    "rate": (st.sampled_from(Rate), lambda member: member.name),
    "region": (st.sampled_from(Region), lambda member: member.value),
    "pair": (st.tuples(st.integers(0, 9), st.integers(0, 9)), json.dumps),
    "mapping": (st.dictionaries(TEXT, st.integers(-9, 9)), json.dumps),
}


@given(st.fixed_dictionaries({}, optional={name: values for name, (values, _) in VALUES.items()}))
def test_typed_values_come_back(values: dict[str, Any]) -> None:
    data = {f"payload-{name}": VALUES[name][1](value) for name, value in values.items()}
    payload = SPEC.payload_from(SPEC.form(data))
    assert set(payload) == set(values)
    assert SPEC.clean(json.loads(json.dumps(payload))) == {
        name: value.replace("\r\n", "\n") if name == "text" else value
        for name, value in values.items()
    }


@given(st.fixed_dictionaries({}, optional={name: values for name, (values, _) in VALUES.items()}))
@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_a_stored_payload_survives_an_untouched_page(zone: str, values: dict[str, Any]) -> None:
    stored = {name: as_json(name, value) for name, value in values.items()}
    with timezone.override(ZoneInfo(zone)):
        page = SPEC.form(initial=stored)
        shown = {field.html_name: field.value() for field in page}
        assert SPEC.payload_from(SPEC.form(shown, initial=stored)) == stored


def as_json(name: str, value: Any) -> Any:
    """Return the JSON value of a Python value."""
    if isinstance(value, Enum):
        return value.name if name == "rate" else value.value
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, bool | int | float | str | dict):
        return value
    return VALUES[name][1](value)


@given(st.dictionaries(st.sampled_from([each.name for each in SPEC.parameters]), st.text()))
def test_typed_input_is_refused_or_can_be_run(texts: dict[str, str]) -> None:
    form: forms.Form = SPEC.form({f"payload-{name}": text for name, text in texts.items()})
    if form.is_valid():
        payload = SPEC.payload_from(form)
        assert SPEC.clean(json.loads(json.dumps(payload))) == form.cleaned_data
