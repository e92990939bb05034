"""What a person fills in: labels, helps, selects, and what is left blank."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads import PayloadSpec
from tests.handlers.payloads.handlers import Size, anything, cleanup, everything, report, required

EVERYTHING = PayloadSpec.from_function(everything)
REQUIRED = PayloadSpec.from_function(required)


def choose(
    maybe: bool | None = True,  # noqa: FBT001, FBT002
    size: Size | None = Size.SMALL,
    mixed: Literal["1", 1, "null"] | None = None,
    must: Literal["a"] | None = ...,  # type: ignore[assignment]
    lines: str = "a\nb",
) -> None: ...


def must_choose(mode: Literal["a"] | None) -> None: ...


CHOOSE = PayloadSpec.from_function(choose)


def choices(spec: PayloadSpec, name: str) -> list[tuple[Any, Any]]:
    widget = spec.form().fields[name].widget
    assert isinstance(widget, forms.Select | forms.RadioSelect)
    return list(widget.choices)


def given(spec: PayloadSpec, **texts: str) -> dict[str, Any]:
    form = spec.form({f"payload-{name}": text for name, text in texts.items()})
    assert form.is_valid(), form.errors
    return spec.payload_from(form)


def test_a_flag_is_a_select_naming_its_default() -> None:
    assert choices(PayloadSpec.from_function(cleanup), "dry_run") == [
        ("", "default (yes)"),
        ("true", "Yes"),
        ("false", "No"),
    ]


def test_a_required_flag_must_be_chosen() -> None:
    assert choices(REQUIRED, "flag") == [("true", "Yes"), ("false", "No")]
    assert "checked" not in str(REQUIRED.form()["flag"])


def test_choices_name_their_default_or_offer_none() -> None:
    assert choices(EVERYTHING, "region") == [
        ("", "default (The north)"),
        ("n", "The north"),
        ("s", "The south"),
    ]
    assert choices(REQUIRED, "size") == [("", "---------"), ("s", "s"), ("l", "l")]
    assert choices(CHOOSE, "size")[-1] == ("null", "None")
    assert choices(PayloadSpec.from_function(must_choose), "mode") == [("", "none"), ("a", "a")]


def test_texts_that_look_like_other_values_are_distinct() -> None:
    values = [value for value, label in choices(CHOOSE, "mixed")]
    assert values == ["", '"1"', "1", '"null"']
    assert given(CHOOSE, mixed='"1"') == {"mixed": "1"}
    assert given(CHOOSE, mixed="1") == {"mixed": 1}
    assert given(CHOOSE, mixed='"null"', maybe="null") == {"mixed": "null", "maybe": None}


def test_defaults_are_shown() -> None:
    html = str(PayloadSpec.from_function(cleanup).form()["max_age_days"])
    assert 'type="number"' in html
    assert 'placeholder="30"' in html
    assert 'name="payload-max_age_days"' in html
    assert "<textarea" in str(CHOOSE.form()["lines"])


def test_required_arguments_are_required() -> None:
    form = REQUIRED.form({})
    assert form.errors == {
        name: ["This field is required."] for name in ("whole", "flag", "size", "text")
    }
    with pytest.raises(InvalidPayload, match="whole: This field is required"):
        REQUIRED.payload_from(form)


def test_blank_is_none_for_a_required_nullable_argument() -> None:
    payload = given(REQUIRED, whole="1", flag="false", size="l", text="x", maybe="")
    assert payload == {"whole": 1, "flag": False, "size": "l", "text": "x", "maybe": None}
    assert given(PayloadSpec.from_function(must_choose)) == {"mode": None}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("whole", " 5 ", 5),
        ("number", "1e3", 1000.0),
        ("exact", "1.10", "1.10"),
        ("day", "2026-01-31", "2026-01-31"),
        ("clock", "09:30", "09:30"),
        ("text", " kept ", " kept "),
        ("text", "a\r\nb", "a\nb"),
        ("numbers", "[]", []),
        ("untyped", "null", None),
        ("untyped", '""', ""),
        ("size", "l", "l"),
    ],
)
def test_what_is_typed_becomes_json(name: str, text: str, value: Any) -> None:
    assert given(EVERYTHING, **{name: text}) == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("whole", "1.5", "Must be a whole number, in digits."),
        ("whole", "9" * 2000, "Must be a whole number, in digits."),
        ("number", "x", "Must be a number such as 1.5."),
        ("number", "nan", "Must be finite; NaN and Infinity are not JSON."),
        ("moment", "x", "Must be a date and time such as"),
        ("size", "huge", 'Must be "s" or "l".'),
        ("flag", "null", "May not be null."),
        ("numbers", "[1", "Must be a list: Expecting ',' delimiter at line 1, column 3."),
        ("numbers", "{}", "Must be a list, not an object."),
        ("mapping", '{"a": 1, "b": 2, "a": 1}', "Has the key 'a' twice; keep one."),
        ("numbers", "[" * 100_000, "Is too large or too deeply nested."),
        ("numbers", "[" + "9" * 5000 + "]", "Is too large or too deeply nested."),
        ("text", "\0", "Has a NUL"),
    ],
)
def test_what_is_mistyped_is_said_at_its_field(name: str, text: str, said: str) -> None:
    form = EVERYTHING.form({f"payload-{name}": text})
    assert list(form.errors) == [name]
    assert form.errors[name][0].startswith(said)


def test_moments_are_typed_locally_and_stored_with_offset() -> None:
    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert given(EVERYTHING, moment="2026-07-01T09:00") == {
            "moment": "2026-07-01T09:00:00+02:00"
        }
        form = EVERYTHING.form(initial={"moment": "2026-07-01T07:00:00Z"})
        assert 'value="2026-07-01T09:00"' in str(form["moment"])
    assert form.initial["moment"] == "2026-07-01T09:00"


@pytest.mark.parametrize(
    "stored",
    [
        {"limit": None, "day": "2026-01-01"},
        {"limit": 5, "day": "20260101"},
    ],
)
def test_an_untouched_form_gives_the_stored_payload_back(stored: dict[str, Any]) -> None:
    spec = PayloadSpec.from_function(report)
    assert resubmitted(spec, stored) == stored


@pytest.mark.parametrize(
    "stored",
    [
        {"text": ""},
        {"text": "two\nlines\r\n"},
        {"moment": "2026-07-01T07:00:00.123456+05:00"},
        {"moment": None},
        {"flag": False, "size": "l", "literal": 1},
        {"numbers": [], "mapping": {"a": 1}, "untyped": None},
        {"exact": 1.1, "span": "PT90S"},
    ],
)
def test_values_that_no_input_can_say_survive(stored: dict[str, Any]) -> None:
    assert resubmitted(EVERYTHING, stored) == stored


def resubmitted(spec: PayloadSpec, stored: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a form that is sent as a browser shows it, untouched."""
    page = spec.form(initial=stored)
    data = {}
    for field in page:
        value = field.value()
        lines = "" if value is None else value.replace("\r\n", "\n")
        data[field.html_name] = lines.replace("\n", "\r\n")
    form = spec.form(data, initial=stored)
    assert form.is_valid(), form.errors
    return spec.payload_from(form)


def test_a_stored_value_can_be_taken_back() -> None:
    form = EVERYTHING.form({"payload-whole": ""}, initial={"whole": 5})
    assert EVERYTHING.payload_from(form) == {}


def test_a_wrong_stored_value_is_shown_and_refused() -> None:
    stored = {"whole": "x", "moment": "y", "day": "z"}
    assert 'value="z"' in str(EVERYTHING.form(initial=stored)["day"])
    assert 'value="y"' in str(EVERYTHING.form(initial=stored)["moment"])
    form = EVERYTHING.form({"payload-whole": "x"}, initial=stored)
    assert form.errors == {"whole": ["Must be a whole number, not text."]}


def test_further_arguments_are_one_json_object() -> None:
    spec = PayloadSpec.from_function(anything)
    stored = {"first": 1, "more": [1], "options": "taken"}
    assert resubmitted(spec, stored) == stored
    assert given(spec, first="1", options='{"more": null}') == {"first": 1, "more": None}
    assert given(spec, first="1") == {"first": 1}
    form = spec.form({"payload-first": "1", "payload-options": "[1]"})
    assert form.errors == {"options": ["Must be an object, not a list."]}
    form = spec.form({"payload-first": "1", "payload-options": '{"first": 2}'})
    assert form.errors == {"options": ["Has a field of its own: first."]}


def test_an_error_without_a_field_is_shown_above() -> None:
    def handler(context: Any, **options: Any) -> None: ...

    form = PayloadSpec.from_function(handler).form({"payload-options": '{"context": 1}'})
    assert form.non_field_errors() == ["context: comes from the scheduler; leave it out."]


def test_prefix_none_and_plain_data_are_accepted() -> None:
    form = EVERYTHING.form({"whole": 5, "flag": True}, prefix=None)
    assert EVERYTHING.payload_from(form) == {"whole": 5, "flag": True}


def test_an_unbound_form_has_no_payload() -> None:
    with pytest.raises(InvalidPayload):
        EVERYTHING.payload_from(EVERYTHING.form())
    with pytest.raises(TypeError, match="does not come from"):
        EVERYTHING.payload_from(forms.Form({}))


def test_a_form_is_cleaned_to_handler_values() -> None:
    form = EVERYTHING.form({"payload-moment": "2026-01-01T00:00", "payload-pair": "[1, 2]"})
    assert form.is_valid()
    assert form.cleaned_data == {"moment": datetime(2026, 1, 1, tzinfo=UTC), "pair": (1, 2)}
