"""A handler's own form cleans what is given of it, be it JSON or filled in by a person."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads import PayloadSpec
from tests.handlers.payloads.handlers import (
    CleanupForm,
    ReportForm,
    WindowForm,
    anything,
    cleanup,
    report,
    required,
    window_of,
)

CLEANUP = PayloadSpec.from_function(cleanup, form=CleanupForm)
REPORT = PayloadSpec.from_function(report, form=ReportForm)
WINDOW = PayloadSpec.from_function(window_of, form=WindowForm)


class AnythingForm(forms.Form):
    first = forms.CharField()
    second = forms.CharField(required=False)
    confirm = forms.BooleanField()
    tags = forms.JSONField(required=False)


class RequiredForm(forms.Form):
    whole = forms.TypedChoiceField(choices=[(1, "one"), (2, "two")], coerce=int)
    flag = forms.BooleanField(required=False)
    size = forms.CharField()
    text = forms.CharField(required=False)
    maybe = forms.DateField(required=False)


class Opinion(forms.Form):
    first = forms.NullBooleanField()


def errors_of(spec: PayloadSpec, payload: Any) -> dict[str, list[str]]:
    with pytest.raises(InvalidPayload) as caught:
        spec.clean(payload)
    return caught.value.errors


def test_the_words_of_an_own_form_are_kept() -> None:
    assert errors_of(CLEANUP, {"max_age_days": 0}) == {
        "max_age_days": ["Ensure this value is greater than or equal to 1."]
    }


def test_absent_fields_are_not_cleaned_but_have_defaults() -> None:
    assert REPORT.clean({"day": "31.01.2026"}) == {"day": date(2026, 1, 31)}
    assert errors_of(REPORT, {"day": "31.01.1999"}) == {"payload": ["Old days need a limit."]}
    assert REPORT.clean({"day": "31.01.1999", "limit": 3})["limit"] == 6


def test_clean_only_sees_complete_and_valid_fields() -> None:
    assert errors_of(REPORT, {}) == {"day": ["required."]}
    assert errors_of(WINDOW, {"start": 5}) == {"start": ["may not be a whole number."]}
    assert errors_of(WINDOW, {"start": "2026-01-02", "end": "2026-01-01"}) == {
        "end": ["The end comes before the start."]
    }


def test_arguments_added_in_clean_reach_the_handler() -> None:
    assert WINDOW.clean({"start": "2026-01-02", "mode": "hard"}) == {
        "start": date(2026, 1, 2),
        "mode": "hard",
        "kinds": ["a", "b"],
    }


@pytest.mark.parametrize("value", [[], {}, "", "text", "[1]", 0, False, [None]])
def test_a_json_field_passes_json_as_it_is(value: Any) -> None:
    assert WINDOW.clean({"start": "2026-01-02", "extra": value})["extra"] == value


@pytest.mark.parametrize(
    ("payload", "errors"),
    [
        ({"limit": ""}, {"limit": ["is empty; leave it out to get the default."]}),
        ({"limit": True}, {"limit": ["Enter a whole number."]}),
        ({"day": None}, {"day": ["may not be null."]}),
        ({"days": 1}, {"days": ["unknown argument; did you mean day?"]}),
        ({"context": 1}, {"context": ["comes from the scheduler; leave it out."]}),
    ],
)
def test_values_that_the_form_would_swallow_are_refused(
    payload: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    assert errors_of(REPORT, {"day": "31.01.2026"} | payload) == errors


def test_null_reaches_a_handler_that_takes_none() -> None:
    assert WINDOW.clean({"start": "2026-01-02", "end": None}) == {
        "start": date(2026, 1, 2),
        "end": None,
    }
    # A field that requires a value has the last word.
    assert errors_of(WINDOW, {"start": "2026-01-02", "extra": None}) == {
        "extra": ["This field is required."]
    }
    spec = PayloadSpec.from_function(anything, form=Opinion)
    assert spec.clean({"first": None}) == {"first": None}
    assert errors_of(spec, {"first": "no"}) == {"first": ["must be true or false, not text."]}


def test_further_arguments_go_beside_the_form() -> None:
    spec = PayloadSpec.from_function(anything, form=AnythingForm)
    assert errors_of(spec, {"first": "a"}) == {"confirm": ["required."]}
    payload = {"first": "a", "second": None, "confirm": True, "tags": [], "more": {"x": None}}
    assert spec.clean(payload) == payload
    assert errors_of(spec, {"first": "a", "confirm": False}) == {
        "confirm": ["This field is required."]
    }


def test_a_person_gives_typed_json() -> None:
    form = CLEANUP.form({"payload-max_age_days": "7", "payload-note": " x "})
    assert CLEANUP.payload_from(form) == {"max_age_days": 7, "note": "x"}
    assert form.cleaned_data == {"max_age_days": 7, "note": "x"}


def test_a_value_only_the_form_reads_stays_raw() -> None:
    form = REPORT.form({"payload-day": "31.01.2026", "payload-limit": "5"})
    payload = REPORT.payload_from(form)
    assert payload == {"day": "31.01.2026", "limit": 5}
    # Cleaned once, not twice: clean_limit doubles.
    assert REPORT.clean(payload) == {"day": date(2026, 1, 31), "limit": 10}


def test_multi_input_widgets_are_stored_and_read_back() -> None:
    form = WINDOW.form(
        {
            "payload-start": "2026-01-01",
            "payload-at_0": "2026-01-02",
            "payload-at_1": "09:00",
            "payload-kinds": ["a"],
            "payload-extra": '"text"',
        }
    )
    payload = WINDOW.payload_from(form)
    assert payload["kinds"] == ["a"]
    assert payload["extra"] == "text"
    assert WINDOW.clean(payload)["at"] == datetime(2026, 1, 2, 9, tzinfo=UTC)


def test_malformed_json_is_refused_in_the_form() -> None:
    form = WINDOW.form({"payload-start": "2026-01-01", "payload-extra": "{"})
    assert form.errors == {"extra": ["Enter a valid JSON."]}
    nested = WINDOW.form({"payload-start": "2026-01-01", "payload-extra": "[" * 100_000})
    assert list(nested.errors) == ["extra"]
    nan = WINDOW.form({"payload-start": "2026-01-01", "payload-extra": "[NaN]"})
    assert nan.errors == {"extra": ["Must be finite; NaN and Infinity are not JSON."]}


def test_an_upload_is_an_error_on_its_field() -> None:
    form = WINDOW.form(
        {"payload-start": "2026-01-01"},
        files={"payload-upload": SimpleUploadedFile("a.txt", b"x")},
    )
    assert not form.is_valid()
    assert form.errors["upload"] == [
        "Is of type SimpleUploadedFile, which cannot be stored as JSON."
    ]
    with pytest.raises(InvalidPayload, match="upload: Is of type"):
        WINDOW.payload_from(form)


def test_non_field_errors_are_shown_above_the_form() -> None:
    form = REPORT.form({"payload-day": "31.01.1999"})
    assert form.non_field_errors() == ["Old days need a limit."]
    with pytest.raises(InvalidPayload, match="payload: Old days need"):
        REPORT.payload_from(form)


def test_a_custom_select_does_not_preselect_a_value() -> None:
    html = str(WINDOW.form()["mode"])
    assert '<option value="" selected>default (soft)</option>' in html
    assert WINDOW.payload_from(WINDOW.form({"payload-start": "2026-01-01"})) == {
        "start": "2026-01-01"
    }


def test_a_required_checkbox_unchecked_is_false() -> None:
    spec = PayloadSpec.from_function(required, form=RequiredForm)
    form = spec.form({"payload-whole": "2", "payload-size": "s"})
    assert 'type="checkbox"' in str(form["flag"])
    assert spec.payload_from(form) == {
        "whole": 2,
        "flag": False,
        "size": "s",
        "text": "",
        "maybe": None,
    }


def test_a_stored_payload_prefills_an_own_form() -> None:
    stored = {"day": "31.01.2026", "limit": None}
    form = REPORT.form(initial=stored)
    assert 'value="31.01.2026"' in str(form["day"])
    bound = REPORT.form({"payload-day": "01.02.2026", "payload-limit": ""}, initial=stored)
    assert REPORT.payload_from(bound) == {"day": "01.02.2026", "limit": None}
    pages = WINDOW.form(initial={"end": "2026-01-31", "at": ["2026-01-01", "09:30"]})
    assert 'value="2026-01-31"' in str(pages["end"])
    assert 'value="09:30"' in str(pages["at"])
    assert "value=" not in str(WINDOW.form(initial={"at": "nonsense"})["at"])
    assert 'value="true" selected' in str(CLEANUP.form(initial={"dry_run": True})["dry_run"])
    assert 'value="nonsense"' in str(CLEANUP.form(initial={"max_age_days": "nonsense"}))


class ChoosingForm(forms.Form):
    group = forms.ModelChoiceField(Group.objects.none(), empty_label=None)
    named = forms.ModelChoiceField(Group.objects.none(), empty_label="Nobody")
    colour = forms.ChoiceField(choices=[("", "Any"), ("r", "Red")])


def paint(group: Any = None, named: Any = None, colour: str = "") -> None: ...


def test_selects_that_have_a_blank_choice_keep_it() -> None:
    form = PayloadSpec.from_function(paint, form=ChoosingForm).form()
    assert ">default (none)</option>" in str(form["group"])
    assert ">Nobody</option>" in str(form["named"])
    assert "default" not in str(form["colour"])
