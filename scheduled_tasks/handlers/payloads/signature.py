"""Reads the signature of a handler: its parameters, and which of them receives the context."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from django.utils.text import capfirst

from scheduled_tasks.exceptions import InvalidHandler
from scheduled_tasks.handlers.payloads.annotations import (
    ANY_JSON,
    NoJsonFormError,
    read_annotation,
    unwrap,
)
from scheduled_tasks.handlers.payloads.argument_types import ArgumentType, shorten
from scheduled_tasks.handlers.payloads.containers import AnnotationMeaning
from scheduled_tasks.handlers.payloads.hidden_secrets import has_secrets
from scheduled_tasks.runtime.context import TaskContext
from scheduled_tasks.runtime.redaction import MARK

REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument that a payload can hold.

    ``default`` is the handler's own Python value, or REQUIRED; ``annotation`` is its source text.
    """

    name: str
    kind: ArgumentType
    nullable: bool
    default: Any = REQUIRED
    annotation: str = ""

    @property
    def required(self) -> bool:
        """Whether the handler has no default for it."""
        return self.default is REQUIRED

    @property
    def label(self) -> str:
        """The name for people: "Max age days"."""
        return capfirst(self.name.strip("_").replace("_", " ") or self.name)

    @property
    def default_text(self) -> str:
        """The default as short text without secrets, "" if it has no readable form."""
        if self.required:
            return ""
        text = self.kind.show(self.default)
        return MARK if has_secrets(self.name, text) else shorten(text)

    @property
    def help_text(self) -> str:
        """Type and default in short: "Whole number. Default: 30."."""
        name = capfirst(self.kind.name) + (" or none" if self.nullable else "")
        if self.required:
            return f"{name}. Blank means none." if self.nullable else f"{name}."
        return f"{name}. Default: {self.default_text}." if self.default_text else f"{name}."

    def read(self, value: Any) -> Any:
        """Return the Python value of a valid JSON value, or raise ValueError with a sentence."""
        return AnnotationMeaning(self.kind, self.nullable).read(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The parameters of a handler. ``kwargs`` are its ``**kwargs``, if any."""

    parameters: tuple[Parameter, ...]
    context: str | None
    kwargs: Parameter | None

    @property
    def kwargs_name(self) -> str | None:
        """The name of the ``**kwargs``, if any."""
        return self.kwargs.name if self.kwargs else None


def read_signature(function: Any, *, from_form: bool = False) -> Signature:
    """Return the parameters of the function that a payload can hold, or raise InvalidHandler.

    With ``from_form``, a form of its own makes the values, so annotations may be of any kind.
    """
    refuse_non_function(function)
    declared = parameters_of(function)
    context = context_among(function, declared)
    read = partial(read_parameter, function, from_form=from_form)
    further = [read(each) for each in declared if each.kind is each.VAR_KEYWORD]
    return Signature(
        parameters=tuple(
            read(each)
            for each in declared
            if each.kind is not each.VAR_KEYWORD and each.name != context
        ),
        context=context,
        kwargs=further[0] if further else None,
    )


def refuse_non_function(function: Any) -> None:
    """Raise InvalidHandler for anything but a function that does its work when it is called."""
    if not inspect.isfunction(function):
        raise InvalidHandler(
            f"{function!r} is not a function; a handler is one written with def or async def."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidHandler(
            f"{name_of(function)} yields, so calling it would run nothing; let it return instead."
        )


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function. All of them must accept keyword arguments."""
    try:
        declared = list(inspect.signature(function).parameters.values())
    except (NameError, TypeError, ValueError) as error:
        raise InvalidHandler(
            f"the signature of {name_of(function)} is not known: {error}."
        ) from None
    for declaration in declared:
        match declaration.kind:
            case declaration.POSITIONAL_ONLY:
                raise InvalidHandler(
                    f"parameter {declaration.name!r} of {name_of(function)} is positional-only; "
                    "arguments are given by name, so remove the '/'."
                )
            case declaration.VAR_POSITIONAL:
                raise InvalidHandler(
                    f"{name_of(function)} takes '*{declaration.name}'; "
                    "arguments are given by name, so take a list instead."
                )
    return declared


def context_among(function: Callable[..., Any], declared: list[inspect.Parameter]) -> str | None:
    """Return the name of the parameter that asks for the context, if there is one."""
    asking = [
        declaration.name
        for declaration in declared
        if declaration.kind is not declaration.VAR_KEYWORD
        and (declaration.name == "context" or asks_for_context(function, declaration))
    ]
    if len(asking) > 1:
        listed = " and ".join(map(repr, asking))
        raise InvalidHandler(
            f"{name_of(function)} asks for the context more than once, as {listed}; keep one."
        )
    return asking[0] if asking else None


def asks_for_context(function: Callable[..., Any], declaration: inspect.Parameter) -> bool:
    """Whether a parameter is annotated with TaskContext, or an Optional of it."""
    annotation = unwrap(resolve(function, declaration))
    if get_origin(annotation) in {Union, UnionType}:
        return {unwrap(member) for member in get_args(annotation)} == {TaskContext, NoneType}
    return annotation is TaskContext


def read_parameter(
    function: Callable[..., Any], declaration: inspect.Parameter, *, from_form: bool
) -> Parameter:
    try:
        reading = read_annotation(resolve(function, declaration))
    except TypeError as error:
        raise unresolved(function, declaration, error) from None
    except NoJsonFormError as error:
        if not from_form:
            raise InvalidHandler(
                f"the annotation {written(declaration.annotation)!r} of parameter "
                f"{declaration.name!r} of {name_of(function)} cannot be filled from JSON: {error}."
            ) from None
        reading = ANY_JSON
    return Parameter(
        name=declaration.name,
        kind=reading.kind,
        nullable=reading.nullable,
        default=declaration.default,
        annotation=written(declaration.annotation),
    )


def resolve(function: Callable[..., Any], declaration: inspect.Parameter) -> Any:
    """Return the annotation of one parameter, with names in text resolved."""
    if declaration.annotation is declaration.empty:
        return declaration.empty
    names = getattr(inspect.unwrap(function), "__globals__", {})
    # A separate function, so that other annotations, such as that of the return value, need not
    # be resolvable. TaskContext is often imported under TYPE_CHECKING only.
    bearer = FunctionType((lambda: None).__code__, {})
    bearer.__annotations__ = {declaration.name: declaration.annotation}
    try:
        return get_type_hints(bearer, globalns={"TaskContext": TaskContext, **names})[
            declaration.name
        ]
    except Exception as error:  # noqa: BLE001  # the text may be any expression
        raise unresolved(function, declaration, error) from None


def unresolved(
    function: Callable[..., Any], declaration: inspect.Parameter, error: Exception
) -> InvalidHandler:
    """Return the error for an annotation that cannot be resolved at run time."""
    is_name = isinstance(error, NameError)
    advice = "import it at run time, not under TYPE_CHECKING" if is_name else "use a type"
    return InvalidHandler(
        f"the annotation {written(declaration.annotation)!r} of parameter {declaration.name!r} "
        f"of {name_of(function)} cannot be resolved ({error}); {advice}."
    )


def written(annotation: Any) -> str:
    """Return an annotation as source text, "" if there is none."""
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def name_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"
