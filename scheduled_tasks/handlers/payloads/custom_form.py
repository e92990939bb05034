"""Makes a handler's custom Django form clean JSON, and only the values that are given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError

from scheduled_tasks.exceptions import InvalidHandler
from scheduled_tasks.handlers.payloads.json_values import type_name
from scheduled_tasks.handlers.payloads.signature import Signature, name_of
from scheduled_tasks.runtime.django_internals import JSONString
from scheduled_tasks.runtime.json_encoding import ExactJSONEncoder
from scheduled_tasks.runtime.sanitizing import safe_repr

# What Django's fields raise for JSON values that no browser would send.
FIELD_ERRORS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class GivenFieldsForm(forms.Form):
    """A mixin before a custom form: clean the JSON values that are given, and nothing else.

    Absent fields are not cleaned, so that no field turns them into its own empty value. The form's
    ``clean()`` finds the handler's defaults in their place.
    """

    def __init__(
        self, given: Mapping[str, Any], defaults: Mapping[str, Any], *, complete: bool
    ) -> None:
        super().__init__(data=given)
        self.given = given
        self.complete = complete
        self.defaults = {name: value for name, value in defaults.items() if name not in given}
        for field in self.fields.values():
            keep_empty_json(field)

    def _clean_fields(self) -> None:
        for name in self.given:
            try:
                self.cleaned_data[name] = clean_json(self.fields[name], self.given[name])
                if hasattr(self, f"clean_{name}"):
                    self.cleaned_data[name] = getattr(self, f"clean_{name}")()
            except ValidationError as error:
                self.add_error(name, error)
        self.cleaned_data.update(self.defaults)

    def clean(self) -> dict[str, Any] | None:
        """Run the custom form's ``clean()`` if each value is valid."""
        return super().clean() if self.complete and not self.errors else self.cleaned_data

    def arguments(self) -> dict[str, Any]:
        """Return what was given, cleaned, and what clean() added or changed."""
        return {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in self.defaults or value is not self.defaults[name]
        }


def clean_given(
    form: type[forms.Form],
    given: Mapping[str, Any],
    *,
    defaults: Mapping[str, Any],
    complete: bool,
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Return the arguments that a custom form makes of the given values, and its errors by name.

    Its ``clean()`` runs only if the values are ``complete`` and each of them is valid.
    """
    bound = type(form.__name__, (GivenFieldsForm, form), {})(given, defaults, complete=complete)
    errors = {
        "payload" if name == NON_FIELD_ERRORS else name: [str(said) for said in sentences]
        for name, sentences in bound.errors.items()
    }
    return bound.arguments() if not errors else {}, errors


def clean_json(field: forms.Field, value: Any) -> Any:
    """Return a JSON value as cleaned by a field, or raise ValidationError."""
    if isinstance(field, forms.BooleanField) and not isinstance(value, bool):
        # Django cleans "no" to True, and null to False.
        if value is None and isinstance(field, forms.NullBooleanField):
            return None
        raise ValidationError(f"must be true or false, not {type_name(value)}.")
    cleaned = clean_safely(field, as_input(field, value))
    if value is None and cleaned in field.empty_values:
        return None
    if value is not None and cleaned is None and not isinstance(field, forms.JSONField):
        raise ValidationError("is empty; leave it out to get the default.")
    return cleaned


def stored_json(field: forms.Field, raw: Any) -> Any:
    """Return the JSON value to store for a raw value, or raise ValidationError.

    That is the cleaned value, if the field cleans it to the same again: 30, not "30". Otherwise, as
    for a model instance or a date in a custom format, it is the raw value.
    """
    # Fields accept None as blank, whatever their widget sends.
    cleaned = clean_safely(field, None if is_blank(raw) else raw)
    if isinstance(field, forms.JSONField):
        return cleaned
    try:
        stored = json.loads(json.dumps(cleaned, cls=ExactJSONEncoder))
        same = clean_json(field, stored) == cleaned
    except (ValidationError, *FIELD_ERRORS):
        return raw
    return stored if same else raw


def initial_for_custom_field(field: forms.Field, stored: Any) -> Any:
    """Return the initial value of a field for a JSON value.

    That is the Python value, if the field can clean what its widget then shows. A date in a custom
    format is shown as it was typed.
    """
    try:
        value = clean_json(field, stored)
        text = field.widget.format_value(field.prepare_value(value))
        if clean_safely(field, text) == value:
            return value
    except (ValidationError, *FIELD_ERRORS):
        pass
    # A widget of several inputs can only split values that its field has made.
    several = isinstance(field.widget, forms.MultiWidget) and not isinstance(stored, list)
    return None if several else stored


def clean_safely(field: forms.Field, value: Any) -> Any:
    """Return a value as cleaned by a field. Any exception becomes a ValidationError."""
    try:
        return field.clean(value)
    except ValidationError:
        raise
    except FIELD_ERRORS:
        raise ValidationError(f"may not be {type_name(value)}.") from None


def is_blank(raw: Any) -> bool:
    """Whether a raw value is blank, or consists of several blank inputs."""
    if isinstance(raw, (list, tuple)):
        return all(map(is_blank, raw))
    return raw is None or (isinstance(raw, str) and raw == "")


def as_input(field: forms.Field, value: Any) -> Any:
    """Return a JSON value as input for a field: a JSONField would decode a text again."""
    if isinstance(field, forms.JSONField) and isinstance(value, str):
        return JSONString(value)
    return value


def keep_empty_json(field: forms.Field) -> None:
    """Make a JSONField accept [], {} and "" as values."""
    if isinstance(field, forms.JSONField):
        field.empty_values = [None]


def check_custom_form(function: Any, form: Any, signature: Signature) -> None:
    """Raise InvalidHandler if a custom form cannot supply the arguments of the function."""
    name = name_of(function)
    if not (isinstance(form, type) and issubclass(form, forms.Form)):
        shown = safe_repr(form, limit=100)
        raise InvalidHandler(f"the form of {name} must be a subclass of forms.Form, not {shown}.")
    fields = set(form.base_fields)
    known = {parameter.name for parameter in signature.parameters}
    required = {parameter.name for parameter in signature.parameters if parameter.required}
    if signature.context in fields:
        raise InvalidHandler(
            f"{form.__name__} has a field {signature.context!r}, which {name} gets from the "
            "scheduler; remove the field."
        )
    if signature.kwargs_name is None and (strange := sorted(fields - known)):
        raise InvalidHandler(
            f"{form.__name__} has fields that are not parameters of {name}: {', '.join(strange)}."
        )
    if missing := sorted(required - fields):
        raise InvalidHandler(
            f"{name} requires arguments that {form.__name__} has no field for: "
            f"{', '.join(missing)}; add the fields or give the parameters defaults."
        )
