"""The fields of dataclasses, TypedDicts and NamedTuples."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, NotRequired, Required, get_origin, get_type_hints, is_typeddict


def is_named_tuple(annotation: Any) -> bool:
    return issubclass(annotation, tuple) and hasattr(annotation, "_fields")


def fields_of(record: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the annotation of each field of a record, and which fields are required.

    Raise NameError or TypeError for annotations in text that cannot be resolved.
    """
    hints = get_type_hints(record)
    marked = get_type_hints(record, include_extras=True)
    if is_dataclass(record):
        initial = [each for each in fields(record) if each.init]
        required = [
            each.name
            for each in initial
            if each.default is MISSING and each.default_factory is MISSING
        ]
        return {each.name: hints[each.name] for each in initial}, frozenset(required)
    if is_typeddict(record):
        return hints, frozenset(name for name in hints if is_required(record, name, marked[name]))
    names: tuple[str, ...] = record._fields
    defaults: dict[str, Any] = record._field_defaults
    return {name: hints.get(name, Any) for name in names}, frozenset(names) - set(defaults)


def is_required(record: Any, name: str, hint: Any) -> bool:
    """Whether a TypedDict requires a key. With annotations in text, it does not know itself."""
    if get_origin(hint) in {Required, NotRequired}:
        return get_origin(hint) is Required
    return name in record.__required_keys__
