"""From the annotation of a parameter to the type of its argument."""

from __future__ import annotations

import types
from collections import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from enum import Enum, Flag
from inspect import Parameter
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin, is_typeddict

from django.db.models import Model

from scheduled_tasks.handlers.payloads.argument_types import (
    ArgumentType,
    JsonType,
    TextType,
)
from scheduled_tasks.handlers.payloads.choices import (
    ChoiceOption,
    ChoiceType,
    choice_type,
    flag_type,
)
from scheduled_tasks.handlers.payloads.containers import (
    AnnotationMeaning,
    ListType,
    MappingType,
    RecordType,
    TupleType,
    UnionType,
    each,
)
from scheduled_tasks.handlers.payloads.plain_types import PLAIN
from scheduled_tasks.handlers.payloads.records import (
    fields_of,
    hashed_names,
    is_named_tuple,
    why_not_made,
)
from scheduled_tasks.runtime.json_encoding import is_scalar, stored_member

ANY_JSON = AnnotationMeaning(JsonType(), nullable=True)
ONLY_NULL = AnnotationMeaning(choice_type([], name="null", expected="null"), nullable=True)


class NoJsonFormError(Exception):
    """An annotation that no JSON value can fill; the message is a part of a sentence."""


#: Aliases and records that an annotation is inside.
Inside = tuple[Any, ...]


def read_annotation(annotation: Any, inside: Inside = ()) -> AnnotationMeaning:
    """Return the argument type of an annotation, and whether it allows null.

    Raise NoJsonFormError with a sentence for an annotation that JSON cannot fill.
    """
    bare = unwrap(annotation)
    if bare is not annotation or is_record(bare):
        if annotation in inside:
            raise NoJsonFormError("it refers to itself; annotate that part with dict or Any")
        inside = (*inside, annotation)
    if bare in {Parameter.empty, Any, object}:
        return ANY_JSON
    if bare in {None, types.NoneType}:
        return ONLY_NULL
    origin = get_origin(bare)
    if origin is Union or origin is types.UnionType:
        return read_union(get_args(bare), inside)
    if origin is Literal:
        return read_literal(get_args(bare))
    return AnnotationMeaning(argument_type_of(bare, origin or bare, inside), nullable=False)


def read_literal(values: tuple[Any, ...]) -> AnnotationMeaning:
    others = [value for value in values if value is not None]
    if not others:
        return ONLY_NULL
    return AnnotationMeaning(choice_type_of(others), nullable=len(others) < len(values))


def unwrap(annotation: Any) -> Any:
    """Return the type inside Annotated, NewType and ``type`` statements."""
    seen: list[Any] = []
    while annotation not in seen:
        seen.append(annotation)
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            # By name, because ``typing`` has this class only from Python 3.12 on.
            annotation = annotation.__value__
    return annotation


def read_union(members: tuple[Any, ...], inside: Inside) -> AnnotationMeaning:
    """Return the type of an Optional, or of several types that JSON tells apart."""
    others = [member for member in members if member is not types.NoneType]
    readings = [read_annotation(member, inside) for member in others]
    nullable = len(others) < len(members) or any(reading.nullable for reading in readings)
    if any(reading.is_any for reading in readings):
        return AnnotationMeaning(JsonType(), nullable=nullable)
    kinds = [kind for reading in readings for kind in members_of(reading.kind)]
    return AnnotationMeaning(kinds[0] if len(kinds) == 1 else union_of(kinds), nullable=nullable)


def members_of(kind: ArgumentType) -> tuple[ArgumentType, ...]:
    """Return the types of a union, which an alias may hide, or the one type that this is."""
    return kind.members if isinstance(kind, UnionType) else (kind,)


def union_of(kinds: list[ArgumentType]) -> UnionType:
    if any(sum(map(is_alike, kinds)) > 1 for is_alike in ALIKE):
        raise NoJsonFormError("JSON cannot tell its types apart; keep one of them")
    return UnionType(
        name="JSON",
        expected=" or ".join(kind.expected for kind in kinds),
        members=tuple(sorted(kinds, key=exactness)),
    )


def exactness(kind: ArgumentType) -> int:
    """Return the place of a type in a union. JSON lists and objects are unlike all others."""
    return BY_EXACTNESS.index(kind.name) if kind.name in BY_EXACTNESS else len(BY_EXACTNESS)


def argument_type_of(annotation: Any, outer: Any, inside: Inside) -> ArgumentType:
    if annotation in PLAIN:
        return PLAIN[annotation]()
    if is_record(outer):
        return record_type(annotation, inside)
    if outer is tuple:
        return tuple_type(annotation, inside)
    if outer in LISTS:
        return list_type(get_args(annotation), LISTS[outer], inside)
    if outer in OBJECTS:
        return mapping_type(get_args(annotation), inside)
    if isinstance(annotation, type):
        if issubclass(annotation, Enum):
            return enum_type(annotation)
        if issubclass(annotation, Model):
            raise NoJsonFormError(
                "a row has no JSON form; take its primary key and read it yourself"
            )
    raise NoJsonFormError(
        "it has no JSON form; use a dataclass, a TypedDict, or Any for any JSON value"
    )


def enum_type(kind: type[Enum]) -> ArgumentType:
    if not kind.__members__:
        raise NoJsonFormError("it has no members")
    return flag_type(kind) if issubclass(kind, Flag) else choice_type_of(kind)


def is_record(annotation: Any) -> bool:
    is_class = isinstance(annotation, type)
    return is_class and (
        is_typeddict(annotation) or is_named_tuple(annotation) or is_dataclass(annotation)
    )


def record_type(annotation: Any, inside: Inside) -> RecordType:
    try:
        hints, required = fields_of(annotation)
    except Exception as error:  # noqa: BLE001 -- annotations in text may be any expression
        raise NoJsonFormError(f"its fields cannot be resolved ({error})") from None
    if said := why_not_made(annotation):
        raise NoJsonFormError(said)
    fields = {}
    for name, hint in hints.items():
        try:
            fields[name] = read_annotation(hint, inside)
        except NoJsonFormError as error:
            raise NoJsonFormError(f"its field {name}: {error}") from None
    return RecordType(
        name=f"JSON object with {', '.join(fields) or 'no keys'}",
        expected="an object",
        outer=dict,
        make=dict if is_typeddict(annotation) else annotation,
        fields=fields,
        required=required,
        positional=is_named_tuple(annotation),
    )


def list_type(arguments: tuple[Any, ...], make: Callable[[Any], Any], inside: Inside) -> ListType:
    item = read_annotation(arguments[0], inside) if arguments else ANY_JSON
    if make in SETS and is_unhashable(item.kind):
        raise NoJsonFormError(
            "a set cannot hold lists, sets, dictionaries or unfrozen dataclasses; "
            "use a list, or tuples and frozensets inside"
        )
    return ListType(
        name=each(item, "JSON list"), expected="a list", outer=list, item=item, make=make
    )


def is_unhashable(kind: ArgumentType) -> bool:
    """Whether a set cannot hold what this type reads, or some of it."""
    match kind:
        case MappingType():
            return True
        case ListType():
            return kind.make in UNHASHABLE or is_unhashable(kind.item.kind)
        case TupleType():
            return any(is_unhashable(item.kind) for item in kind.items)
        case UnionType():
            return any(map(is_unhashable, kind.members))
        case RecordType():
            hashed = kind.fields.keys() & hashed_names(kind.make)
            return kind.make.__hash__ is None or any(
                is_unhashable(kind.fields[name].kind) for name in hashed
            )
    return False


def tuple_type(annotation: Any, inside: Inside) -> ListType | TupleType:
    arguments = get_args(annotation)
    is_empty = hasattr(annotation, "__args__") and not arguments  # tuple[()]
    if not is_empty and (not arguments or arguments[-1] is Ellipsis):
        return list_type(arguments[:1], tuple, inside)
    items = tuple(read_annotation(argument, inside) for argument in arguments)
    return TupleType(name=f"JSON list of {len(items)}", expected="a list", outer=list, items=items)


def mapping_type(arguments: tuple[Any, ...], inside: Inside) -> MappingType:
    key, item = (read_annotation(argument, inside) for argument in arguments or (str, Any))
    if key.is_any:
        key = AnnotationMeaning(TextType(), nullable=False)
    if key.nullable or (isinstance(key.kind, JsonType)):
        raise NoJsonFormError("the keys of an object are text; use str or a type that is one text")
    return MappingType(
        name=each(item, "JSON object", "each value"),
        expected="an object",
        outer=dict,
        key=key.kind,
        item=item,
    )


def an_object() -> JsonType:
    return JsonType(name="JSON object", expected="an object", outer=dict)


def choice_type_of(values: Iterable[Any]) -> ChoiceType:
    """Return the choice among the values of a Literal or the members of an Enum."""
    return choice_type([option_of(value) for value in values])


def option_of(value: Any) -> ChoiceOption:
    """Return the option of a value of a Literal or a member of an Enum."""
    if not isinstance(value, Enum):
        if not is_scalar(value):
            raise NoJsonFormError(f"{value!r} has no JSON form; use text or a number")
        return ChoiceOption(label=str(value), stored=value, value=value)
    stored = stored_member(value)
    label = str(getattr(value, "label", stored))
    return ChoiceOption(label=label, stored=stored, value=value)


LISTS: Mapping[Any, Callable[[Any], Any]] = {
    list: list,
    abc.Sequence: list,
    abc.MutableSequence: list,
    abc.Iterable: list,
    abc.Collection: list,
    set: set,
    frozenset: frozenset,
    abc.Set: set,
    abc.MutableSet: set,
}
SETS = {set, frozenset}
#: What a list may become that a set cannot hold.
UNHASHABLE = {list, set}
OBJECTS = {dict, abc.Mapping, abc.MutableMapping}
#: The order in which a union tries its types, by name: one that reads fewer texts comes first.
BY_EXACTNESS = (
    "yes or no",
    "choice",
    "sum of flags",
    "whole number",
    "number",
    "UUID",
    "decimal number",
    "date",
    "time of day",
    "date and time",
    "duration",
    "bytes",
    "path",
    "text",
)
#: At most one of a group can be in a union: all of them read the same JSON.
ALIKE: tuple[Callable[[ArgumentType], bool], ...] = (
    lambda kind: kind.name in {"text", "path", "bytes"},
    lambda kind: isinstance(kind, JsonType) and kind.takes([]),
    lambda kind: isinstance(kind, JsonType) and kind.takes({}),
)
