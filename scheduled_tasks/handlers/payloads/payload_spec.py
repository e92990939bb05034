"""The arguments of a handler, and the two ways to supply them: as JSON, and in a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast

from django import forms

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads.custom_form import check_custom_form, clean_given
from scheduled_tasks.handlers.payloads.hidden_secrets import REFUSED, has_secrets
from scheduled_tasks.handlers.payloads.json_values import flaw, type_name
from scheduled_tasks.handlers.payloads.payload_form import PayloadForm
from scheduled_tasks.handlers.payloads.signature import Parameter, Signature, read_signature
from scheduled_tasks.mistakes import advice
from scheduled_tasks.runtime.json_encoding import is_storable


@dataclass(frozen=True, eq=False)
class PayloadSpec:
    """The arguments of a handler, from its signature or from its custom form.

    A key that is absent from a payload means the handler's own default, never the empty value of a
    form field: the call receives only the keys that were given.
    """

    signature: Signature
    custom_form: type[forms.Form] | None = None

    @classmethod
    def from_function(
        cls, function: Callable[..., Any], *, form: type[forms.Form] | None = None
    ) -> Self:
        """Return the spec of a function. Raise InvalidHandler if it cannot be a handler."""
        signature = read_signature(function, from_form=form is not None)
        if form is not None:
            check_custom_form(function, form, signature)
        return cls(signature, form)

    def prepare(self) -> None:
        """Compute now what is otherwise computed when the first payload is cleaned."""
        _ = self.parameters, self.by_name, self.names, self.required

    @property
    def context_parameter(self) -> str | None:
        """The name of the parameter that receives the TaskContext, if there is one."""
        return self.signature.context

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the handler that a payload can hold, in order."""
        if self.custom_form is None:
            return self.signature.parameters
        fields = self.custom_form.base_fields
        return tuple(each for each in self.signature.parameters if each.name in fields)

    def clean(self, payload: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
        """Return the keyword arguments of a call, or raise InvalidPayload.

        JSON values go in, Python values come out. The exception holds all errors, by argument;
        those that belong to no argument are under "payload". If ``complete`` is False, required
        arguments may be missing: they are given when a run is started.
        """
        refuse_non_object(payload)
        errors = self.errors_of_keys(payload)
        if complete:
            errors |= {name: ["required."] for name in self.required if name not in payload}
        given = {name: value for name, value in payload.items() if name not in errors}
        if self.custom_form is None:
            cleaned = self.read(given, errors)
        else:
            cleaned = self.read_by_custom_form(self.custom_form, given, errors)
        if errors:
            raise InvalidPayload(errors)
        return cleaned

    def form(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, Any] | None = None,
        initial: Mapping[str, Any] | None = None,
        prefix: str | None = "payload",
    ) -> PayloadForm:
        """Return the form that a person fills in. ``initial`` is a payload to show in its fields.

        Pass ``initial`` again with the data: a field that was not changed keeps its exact value,
        even one that cannot be typed, such as null.
        """
        base: type[PayloadForm] = PayloadForm
        if self.custom_form is not None:
            base = cast(
                "type[PayloadForm]",
                type(self.custom_form.__name__, (PayloadForm, self.custom_form), {}),
            )
        stored = dict(initial or {})
        form = base(
            parameters=self.by_name,
            stored=stored,
            clean_payload=self.clean,
            data=data,
            files=files,
            initial={},
            prefix=prefix,
        )
        if self.custom_form is None:
            for parameter in self.parameters:
                form.add_argument(parameter)
        kwargs_name = self.signature.kwargs_name
        if kwargs_name is not None and kwargs_name not in form.fields:
            taken = {*form.fields, self.context_parameter}
            form.add_extra_arguments(
                kwargs_name, {key: value for key, value in stored.items() if key not in taken}
            )
        return form

    def payload_from(self, form: forms.BaseForm) -> dict[str, Any]:
        """Return the JSON payload from a bound form of this spec, with only the given keys.

        Raise InvalidPayload if the form is not valid.
        """
        if not isinstance(form, PayloadForm):
            raise TypeError(f"{type(form).__name__} does not come from PayloadSpec.form().")
        if not form.is_valid():
            raise InvalidPayload(
                {
                    name if name in form.fields else "payload": [str(said) for said in sentences]
                    for name, sentences in form.errors.items()
                }
            )
        return dict(form.payload)

    def read(self, given: Mapping[str, Any], errors: dict[str, list[str]]) -> dict[str, Any]:
        """Return the given values, converted by the signature; add refusals to ``errors``."""
        by_name, kwargs = self.by_name, self.signature.kwargs
        cleaned = {}
        for name, value in given.items():
            parameter = by_name.get(name, kwargs)
            try:
                cleaned[name] = parameter.read(value) if parameter else value
            except ValueError as error:
                # A sentence may quote the value, and users who may only view see it.
                errors[name] = [REFUSED if has_secrets(name, value) else str(error)]
        return cleaned

    def read_by_custom_form(
        self, form: type[forms.Form], given: Mapping[str, Any], errors: dict[str, list[str]]
    ) -> dict[str, Any]:
        """Return the given values, cleaned by the custom form; add refusals to ``errors``."""
        in_form = {name: value for name, value in given.items() if name in form.base_fields}
        extra = {name: value for name, value in given.items() if name not in in_form}
        defaults = dict.fromkeys(form.base_fields) | {
            parameter.name: parameter.default
            for parameter in self.parameters
            if not parameter.required
        }
        cleaned, refused = clean_given(form, in_form, defaults=defaults, complete=not errors)
        errors.update(refused)
        return extra | {name: value for name, value in cleaned.items() if self.accepts(name)}

    def errors_of_keys(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return the errors of keys that are unknown, or whose value is not JSON or null."""
        by_name = self.by_name
        errors = {}
        for name, value in payload.items():
            if not self.accepts(name):
                errors[name] = [self.unknown(name)]
            elif said := flaw(value, level=2):
                errors[name] = [said]
            elif value is None and name in by_name and not by_name[name].nullable:
                errors[name] = ["may not be null."]
        return errors

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def names(self) -> list[str]:
        """The names of the arguments, without those of ``**kwargs``."""
        if self.custom_form is not None:
            return list(self.custom_form.base_fields)
        return [parameter.name for parameter in self.parameters]

    @cached_property
    def required(self) -> list[str]:
        """The names of the arguments that every payload must hold."""
        known = {parameter.name: parameter.required for parameter in self.parameters}
        fields = self.custom_form.base_fields if self.custom_form is not None else {}
        return [
            name for name in self.names if known.get(name, name in fields and fields[name].required)
        ]

    def accepts(self, name: str) -> bool:
        """Whether a payload can hold an argument with this name."""
        if name in self.names:
            return True
        others = {parameter.name for parameter in self.signature.parameters}
        return self.signature.kwargs_name is not None and name not in {
            *others,
            self.context_parameter,
        }

    def unknown(self, name: str) -> str:
        """Return the error for an argument that the handler does not have."""
        if name == self.context_parameter:
            return "comes from the scheduler; leave it out."
        return f"unknown argument; {advice(name, self.names, quoted=False)}"


def refuse_non_object(payload: Any) -> None:
    """Raise InvalidPayload for anything but an object whose keys are text."""
    if not isinstance(payload, Mapping):
        raise InvalidPayload(
            {"payload": [f"must be an object of arguments, not {type_name(payload)}."]}
        )
    strange = [key for key in payload if not (isinstance(key, str) and is_storable(key))]
    if strange:
        raise InvalidPayload(
            {"payload": [f"must name its arguments with text, not with {strange[0]!r}."]}
        )
