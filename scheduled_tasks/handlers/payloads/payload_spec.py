"""What a handler takes, and the two ways to give it: JSON, and a form that a person fills in."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, cast

from django import forms

from scheduled_tasks.exceptions import InvalidPayload
from scheduled_tasks.handlers.payloads.custom_form import check_custom_form, clean_given
from scheduled_tasks.handlers.payloads.json_values import flaw, type_name
from scheduled_tasks.handlers.payloads.payload_form import PayloadForm
from scheduled_tasks.handlers.payloads.signature import Parameter, Signature, read_signature


@dataclass(frozen=True, eq=False)
class PayloadSpec:
    """The arguments of a handler, from its signature or from the form that it names.

    A key that is absent from a payload means the handler's own default, never a form's idea of
    empty: the call gets only the keys that were given.
    """

    signature: Signature
    custom_form: type[forms.Form] | None = None

    @classmethod
    def from_function(
        cls, function: Callable[..., Any], *, form: type[forms.Form] | None = None
    ) -> Self:
        """Return the spec of a function, or raise InvalidHandler with what is wrong with it."""
        signature = read_signature(function)
        if form is not None:
            check_custom_form(function, form, signature)
        return cls(signature, form)

    def prepare(self) -> None:
        """Work out now what is otherwise worked out when the first payload is cleaned."""
        _ = self.parameters, self.by_name, self.names, self.required

    @property
    def context_parameter(self) -> str | None:
        """Return the name of the parameter that gets the TaskContext, if there is one."""
        return self.signature.context

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Return the parameters of the handler that a payload can hold, in their order."""
        if self.custom_form is None:
            return self.signature.parameters
        fields = self.custom_form.base_fields
        return tuple(each for each in self.signature.parameters if each.name in fields)

    def clean(self, payload: Mapping[str, Any], *, complete: bool = True) -> dict[str, Any]:
        """Return the keyword arguments of a call, or raise InvalidPayload.

        JSON values go in, Python values come out. Errors are all told at once, by argument; those
        that belong to none stand under "payload". With ``complete`` false, required arguments may
        be missing: whoever starts the run gives them.
        """
        refuse_what_is_no_object(payload)
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
        """Return the form that a person fills in; ``initial`` is a payload, shown in its fields.

        Pass ``initial`` again with the data: a field that is left as it was shown keeps its value
        to the letter, also one that cannot be typed, such as null.
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
        """Return the JSON payload that a person gave in a bound form of this spec.

        It holds only the keys that were given. Raises InvalidPayload if the form is not valid.
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
        """Return the given values as the signature reads them; add what it refuses to errors."""
        by_name = self.by_name
        cleaned = {}
        for name, value in given.items():
            try:
                cleaned[name] = by_name[name].read(value) if name in by_name else value
            except ValueError as error:
                errors[name] = [str(error)]
        return cleaned

    def read_by_custom_form(
        self, form: type[forms.Form], given: Mapping[str, Any], errors: dict[str, list[str]]
    ) -> dict[str, Any]:
        """Return the given values as the own form cleans them; add what it refuses to errors."""
        in_form = {name: value for name, value in given.items() if name in form.base_fields}
        extra = {name: value for name, value in given.items() if name not in in_form}
        defaults = dict.fromkeys(form.base_fields) | {
            parameter.name: parameter.default
            for parameter in self.parameters
            if not parameter.required
        }
        cleaned, refused = clean_given(form, in_form, defaults=defaults, complete=not errors)
        errors.update(refused)
        return extra | {name: value for name, value in cleaned.items() if self.takes(name)}

    def errors_of_keys(self, payload: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return what is wrong with keys that are unknown, or hold no JSON or null."""
        by_name = self.by_name
        errors = {}
        for name, value in payload.items():
            if not self.takes(name):
                errors[name] = [self.unknown(name)]
            elif said := flaw(value):
                errors[name] = [said]
            elif value is None and name in by_name and not by_name[name].nullable:
                errors[name] = ["may not be null."]
        return errors

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """Return the parameters by their names."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def names(self) -> list[str]:
        """Return the names of the arguments that are known by name."""
        if self.custom_form is not None:
            return list(self.custom_form.base_fields)
        return [parameter.name for parameter in self.parameters]

    @cached_property
    def required(self) -> list[str]:
        """Return the names of the arguments that every payload must hold."""
        known = {parameter.name: parameter.required for parameter in self.parameters}
        fields = self.custom_form.base_fields if self.custom_form is not None else {}
        return [
            name for name in self.names if known.get(name, name in fields and fields[name].required)
        ]

    def takes(self, name: str) -> bool:
        """Say whether a payload can hold an argument of this name."""
        if name in self.names:
            return True
        others = {parameter.name for parameter in self.signature.parameters}
        return self.signature.kwargs_name is not None and name not in {
            *others,
            self.context_parameter,
        }

    def unknown(self, name: str) -> str:
        """Return the sentence for an argument that the handler does not take."""
        if name == self.context_parameter:
            return "comes from the scheduler; leave it out."
        if near := difflib.get_close_matches(name, self.names, n=1):
            return f"unknown argument; did you mean {near[0]}?"
        return f"unknown argument; there are {', '.join(self.names) or 'none'}."


def refuse_what_is_no_object(payload: Any) -> None:
    """Raise InvalidPayload for what is not an object with text for keys."""
    if not isinstance(payload, Mapping):
        raise InvalidPayload(
            {"payload": [f"must be an object of arguments, not {type_name(payload)}."]}
        )
    strange = [key for key in payload if not isinstance(key, str)]
    if strange:
        raise InvalidPayload(
            {"payload": [f"must name its arguments with text, not with {strange[0]!r}."]}
        )
