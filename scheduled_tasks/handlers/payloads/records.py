"""The fields of dataclasses, TypedDicts and NamedTuples."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, is_dataclass
from inspect import Parameter, isabstract, signature
from typing import Any, NotRequired, Required, get_origin, get_type_hints, is_typeddict

from scheduled_tasks.runtime.cpython_internals import is_generated


def is_named_tuple(annotation: Any) -> bool:
    return issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def fields_of(record: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the annotation of each field of a record, and which fields are required.

    Raise NameError or TypeError for annotations in text that cannot be resolved.
    """
    hints = get_type_hints(record)
    if is_typeddict(record):
        marked = get_type_hints(record, include_extras=True)
        return hints, frozenset(name for name in hints if is_required(record, name, marked[name]))
    names = names_of(record)
    required = frozenset(each.name for each in arguments_of(record) if is_given(each))
    return {name: hints.get(name, Any) for name in names}, required.intersection(names)


def why_not_made(record: Any) -> str:
    """Return why a record can never be made of its fields, "" if it can."""
    if is_typeddict(record):
        return ""
    if isabstract(record):
        return "it is abstract"
    names, arguments = names_of(record), arguments_of(record)
    if foreign := [each.name for each in arguments if is_given(each) and each.name not in names]:
        return f"it cannot be made without {foreign[0]}, which is not a field; give it a default"
    taken = {each.name for each in arguments if each.kind is not each.POSITIONAL_ONLY}
    takes_all = any(each.kind is each.VAR_KEYWORD for each in arguments)
    if not takes_all and (left := [name for name in names if name not in taken]):
        return f"it cannot be made with {left[0]}, although that is a field; add that argument"
    return ""


def names_of(record: Any) -> Collection[str]:
    """Return the fields of a dataclass that its ``__init__`` takes, or those of a NamedTuple."""
    if is_dataclass(record):
        return [each.name for each in fields(record) if each.init]
    names: tuple[str, ...] = record._fields
    return names


def hashed_names(record: Any) -> Collection[str]:
    """Return the fields that must have a hash for the record to have one.

    A hash of its own may do without, so then there are none.
    """
    if record.__hash__ is tuple.__hash__:
        return names_of(record)
    if not (is_dataclass(record) and is_generated(record.__hash__)):
        return ()
    return [
        each.name for each in fields(record) if (each.compare if each.hash is None else each.hash)
    ]


def arguments_of(record: Any) -> Collection[Parameter]:
    return signature(record).parameters.values()


def is_given(argument: Parameter) -> bool:
    """Whether a call must give an argument."""
    variadic = argument.kind in {argument.VAR_POSITIONAL, argument.VAR_KEYWORD}
    return argument.default is argument.empty and not variadic


def is_required(record: Any, name: str, hint: Any) -> bool:
    """Whether a TypedDict requires a key. With annotations in text, it does not know itself."""
    if get_origin(hint) in {Required, NotRequired}:
        return get_origin(hint) is Required
    return name in record.__required_keys__
