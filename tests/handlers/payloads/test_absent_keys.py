"""An absent key is the handler's default, never a form's idea of empty: no dry run deletes."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.http import QueryDict

from scheduled_tasks.handlers.payloads import PayloadSpec
from tests.handlers.payloads.handlers import CleanupForm, cleanup

SPECS = [
    pytest.param(PayloadSpec.from_function(cleanup), id="signature"),
    pytest.param(PayloadSpec.from_function(cleanup, form=CleanupForm), id="own form"),
]


def delete(*, dry_run: bool = True, **options: Any) -> tuple[bool, dict[str, Any]]:
    return dry_run, options


class DeleteForm(forms.Form):
    dry_run = forms.BooleanField(required=False)
    force = forms.BooleanField(required=False)


@pytest.mark.parametrize("spec", SPECS)
def test_a_dry_run_absent_from_json_stays_default(spec: PayloadSpec) -> None:
    assert spec.clean({}) == {}
    assert spec.clean({"max_age_days": 5}) == {"max_age_days": 5}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "data", ["", "payload-max_age_days=&payload-dry_run=&payload-note=", "payload-note="]
)
def test_a_dry_run_left_blank_stays_default(spec: PayloadSpec, data: str) -> None:
    form = spec.form(QueryDict(data))
    assert form.is_valid(), form.errors
    assert spec.payload_from(form) == {}
    assert form.cleaned_data == {}


@pytest.mark.parametrize("spec", SPECS)
def test_an_untouched_page_submits_an_empty_payload(spec: PayloadSpec) -> None:
    html = spec.form().as_p()
    assert 'type="checkbox"' not in html
    assert '<option value="" selected>default (yes)</option>' in html
    assert " required" not in html


@pytest.mark.parametrize("spec", SPECS)
def test_a_person_can_say_no(spec: PayloadSpec) -> None:
    form = spec.form({"payload-dry_run": "false"})
    assert spec.payload_from(form) == {"dry_run": False}
    assert spec.clean({"dry_run": False}) == {"dry_run": False}


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("value", [None, 0, "", "no", "false", [], {}])
def test_only_false_is_false(spec: PayloadSpec, value: Any) -> None:
    with pytest.raises(ValueError, match="dry_run: "):
        spec.clean({"dry_run": value})


@pytest.mark.parametrize(("payload", "dry_run"), [({}, True), ({"dry_run": False}, False)])
def test_the_handler_itself_gets_its_default(
    payload: dict[str, Any],
    dry_run: bool,  # noqa: FBT001
) -> None:
    for form in (None, DeleteForm):
        spec = PayloadSpec.from_function(delete, form=form)
        assert delete(**spec.clean(payload)) == (dry_run, {})


def test_a_custom_forms_extra_flag_stays_absent() -> None:
    spec = PayloadSpec.from_function(delete, form=DeleteForm)
    form = spec.form({})
    assert spec.payload_from(form) == {}
    assert '<option value="" selected>default</option>' in str(form["force"])


def test_an_explicit_empty_text_is_given() -> None:
    assert PayloadSpec.from_function(cleanup).clean({"note": ""}) == {"note": ""}
    own = PayloadSpec.from_function(cleanup, form=CleanupForm)
    assert own.clean({"note": ""}) == {"note": ""}
