"""The form in which a person fills in a payload: blank fields are absent keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import capfirst

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads.annotations import an_object
from scheduled_tasks.handlers.payloads.choices import ChoiceType
from scheduled_tasks.handlers.payloads.custom_form import (
    initial_for_custom_field,
    is_blank,
    keep_empty_json,
    stored_json,
)
from scheduled_tasks.handlers.payloads.hidden_secrets import masked_text, unmasked
from scheduled_tasks.handlers.payloads.json_values import flaw
from scheduled_tasks.handlers.payloads.signature import Parameter
from scheduled_tasks.runtime.redaction import mask_secrets_in_json

BLANK = "---------"


class PayloadForm(forms.Form):
    """A form for the arguments of a handler; a mixin before the handler's custom form.

    ``payload`` is what the person has entered, as JSON. ``cleaned_data`` are the arguments that
    the handler would receive: the payload is cleaned in the same way as in a run.
    """

    def __init__(
        self,
        *,
        parameters: Mapping[str, Parameter],
        stored: Mapping[str, Any],
        clean_payload: Callable[[Mapping[str, Any]], dict[str, Any]],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.parameters = parameters
        self.stored = stored
        self.clean_payload = clean_payload
        self.payload: dict[str, Any] = {}
        self.hides_secrets = False
        #: The stored payload as its fields show it.
        self.shown = dict(stored)
        for name, field in self.fields.items():
            adapt(field, parameters.get(name))
            if name in stored:
                self.initial[name] = initial_for(field, stored[name])

    def add_argument(self, parameter: Parameter) -> None:
        """Add a field for a parameter of the handler."""
        field = self.fields[parameter.name] = ArgumentField(parameter)
        if parameter.name not in self.stored:
            return
        text = self.initial[parameter.name] = initial_for(field, self.stored[parameter.name])
        # Browsers drop line breaks from the value of an input of one line.
        if "\n" in text and isinstance(field.widget, forms.TextInput):
            field.widget = textarea()

    def add_extra_arguments(self, name: str, stored: Mapping[str, Any]) -> None:
        """Add a field for the arguments that a handler accepts as ``**name``."""
        self.fields[name] = ExtraArgumentsField(name)
        if stored:
            self.initial[name] = initial_for(self.fields[name], dict(stored))

    def hide_secrets(self) -> None:
        """Show masks in place of stored secrets. A mask that is left as it is keeps the secret."""
        self.hides_secrets = True
        shown = self.shown = mask_secrets_in_json(dict(self.stored))
        for name, field in self.fields.items():
            if isinstance(field, ExtraArgumentsField) and name in self.initial:
                extra = {key: shown[key] for key in shown if key not in self.fields}
                self.initial[name] = masked_text(extra)
            elif name in self.stored and shown[name] != self.stored[name]:
                # A number or a choice cannot show a mask.
                one_line = not isinstance(field.widget, forms.Textarea)
                field.widget = forms.TextInput() if one_line else textarea()
                writes_json = isinstance(field, forms.JSONField)
                self.initial[name] = shown[name] if writes_json else masked_text(shown[name])

    def _clean_fields(self) -> None:
        self.payload = {}
        for name, field in self.fields.items():
            try:
                self.payload.update(self.given(name, field))
            except ValidationError as error:
                self.add_error(name, error)
        if self.errors:
            return
        try:
            if self.hides_secrets:
                self.payload = unmasked(self.payload, self.stored)
            self.cleaned_data = self.clean_payload(self.payload)
        except InvalidPayload as error:
            for name, sentences in error.errors.items():
                self.add_errors(name, sentences)

    def add_errors(self, name: str, sentences: list[str]) -> None:
        """Add errors to the field of an argument, or to the form if it has no such field."""
        if name in self.fields:
            self.add_error(name, [capfirst(said) for said in sentences])
        elif name == "payload":
            self.add_error(None, sentences)
        else:
            self.add_error(None, [f"{name}: {said}" for said in sentences])

    def clean(self) -> None:
        """Do not call the custom form's ``clean()``: it has run when the payload was cleaned."""

    def given(self, name: str, field: forms.Field) -> dict[str, Any]:
        """Return the arguments from one field, or raise ValidationError."""
        raw = field.widget.value_from_datadict(self.data, self.files, self.add_prefix(name))
        if isinstance(field, ExtraArgumentsField):
            return field.arguments(text_of(raw), taken=self.fields.keys() - {name})
        if name in self.stored and self.is_as_shown(name, raw):
            # Also values that cannot be typed: null, the empty text, microseconds.
            return {name: self.shown[name]}
        if is_blank(raw) and not self.is_required(name, field):
            return {}
        if isinstance(field, ArgumentField):
            return {name: field.stored(text_of(raw))}
        value = stored_json(field, raw)
        if said := flaw(value):
            raise ValidationError(capfirst(said))
        return {name: value}

    def is_as_shown(self, name: str, raw: Any) -> bool:
        """Whether a person left a field unchanged."""
        masked = self.shown[name] != self.stored[name]
        if not (masked or isinstance(self.fields[name], ArgumentField)):
            return is_blank(raw) and is_blank(self.stored[name])
        return text_of(raw) == text_of(self.initial[name])

    def is_required(self, name: str, field: forms.Field) -> bool:
        """Whether a blank field is a value, or an error, rather than an absent key."""
        return self.parameters[name].required if name in self.parameters else field.required


class ArgumentField(forms.Field):
    """A field for one parameter. Its initial values are texts from ``render``."""

    def __init__(self, parameter: Parameter) -> None:
        self.parameter = parameter
        super().__init__(
            required=parameter.required and not parameter.nullable,
            label=parameter.label,
            help_text=parameter.help_text,
            widget=widget_of(parameter),
        )

    def clean(self, value: Any) -> Any:
        """Return the Python value of what a person typed."""
        try:
            return self.parameter.read(self.stored(text_of(value)))
        except ValueError as error:
            raise ValidationError(capfirst(str(error))) from None

    def stored(self, text: str) -> Any:
        """Return the JSON value of what a person typed, or raise ValidationError."""
        if not text:
            if self.required:
                raise ValidationError(self.error_messages["required"], code="required")
            return None
        try:
            return self.parameter.kind.parse(text)
        except ValueError as error:
            raise ValidationError(capfirst(str(error))) from None


class ExtraArgumentsField(ArgumentField):
    """A field for the ``**kwargs`` of a handler: one JSON object."""

    def __init__(self, name: str) -> None:
        super().__init__(Parameter(name=name, kind=an_object(), nullable=True, default=None))
        self.label = "Further arguments"
        self.help_text = "JSON object. Its keys are arguments of their own."

    def arguments(self, text: str, *, taken: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = self.clean(text) or {}
        if duplicates := sorted(set(arguments) & set(taken)):
            raise ValidationError(f"Has a field of its own: {', '.join(duplicates)}.")
        return arguments


class DefaultOrFlagSelect(forms.Select):
    """A select for a BooleanField with a third, blank choice, which a checkbox lacks."""

    def __init__(self, default: str) -> None:
        super().__init__(choices=[("", default), ("true", "Yes"), ("false", "No")])

    def format_value(self, value: Any) -> list[str]:
        return [{True: "true", False: "false"}.get(value, "")]

    def value_from_datadict(self, data: Mapping[str, Any], _files: Any, name: str) -> Any:
        """Return True, False, or None for the blank choice."""
        return {"true": True, "false": False}.get(data.get(name, ""))


def widget_of(parameter: Parameter) -> forms.Widget:
    """Return the widget of a parameter, with its default as placeholder."""
    kind = parameter.kind
    if isinstance(kind, ChoiceType):
        return select_of(kind, parameter)
    widget = kind.widget()
    default = "" if parameter.required or parameter.default is None else parameter.default_text
    if isinstance(parameter.default, str) and "\n" in parameter.default:
        widget = textarea()
    if default and getattr(widget, "input_type", "text") in {"text", "number"}:
        widget.attrs["placeholder"] = default
    return widget


def textarea() -> forms.Textarea:
    return forms.Textarea(attrs={"rows": 3})


def text_of(raw: Any) -> str:
    """Return the raw value of a widget as text, with the line ends that browsers change."""
    if raw is None:
        return ""
    text = raw if isinstance(raw, str) else json.dumps(raw)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def select_of(kind: ChoiceType, parameter: Parameter) -> forms.Widget:
    """Return a select of the options that has none selected initially."""
    choices = [(text, option.label) for text, option in kind.choices.items()]
    is_flag = all(isinstance(option.stored, bool) for option in kind.options)
    if parameter.required and not parameter.nullable:
        # A select without a blank choice would preselect Yes.
        if is_flag:
            return forms.RadioSelect(choices=choices)
        return forms.Select(choices=[("", BLANK), *choices])
    if parameter.nullable and not parameter.required and parameter.default is not None:
        choices.append(("null", "None"))
    blank = "none" if parameter.required else default_label(parameter)
    return forms.Select(choices=[("", blank), *choices])


def default_label(parameter: Parameter | None) -> str:
    default = parameter.default_text if parameter else ""
    return f"default ({default})" if default else "default"


def initial_for(field: forms.Field, value: Any) -> Any:
    """Return the initial value of a field for a JSON value."""
    if isinstance(field, ArgumentField):
        kind = field.parameter.kind
        return kind.render(value) if value is not None or isinstance(kind, ChoiceType) else ""
    return initial_for_custom_field(field, value)


def adapt(field: forms.Field, parameter: Parameter | None) -> None:
    """Allow a blank in a custom form's field if the handler has a default."""
    keep_empty_json(field)
    if parameter.required if parameter else field.required:
        return
    field.required = field.widget.is_required = False
    blank = default_label(parameter)
    match field:
        case forms.BooleanField() if isinstance(field.widget, forms.CheckboxInput):
            field.widget = DefaultOrFlagSelect(blank)
        case forms.ModelChoiceField() if field.empty_label is None:
            field.empty_label = blank
        case forms.ModelChoiceField():
            pass
        case forms.ChoiceField() if type(field.widget) is forms.Select:
            choices = list(cast("Iterable[tuple[Any, Any]]", field.choices))
            if not any(value in {"", None} for value, label in choices):
                field.choices = [("", blank), *choices]
