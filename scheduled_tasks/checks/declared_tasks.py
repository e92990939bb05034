"""Checks of what code declares: handlers, and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ValidationError

from scheduled_tasks.exceptions import InvalidHandler, UnknownHandler
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.registry import registry


def check_handlers(**_: Any) -> list[CheckMessage]:
    """Check that every handler has a unique key and can be called with a payload."""
    if registry.problems:
        return [
            Error(
                problem,
                hint="Fix the declaration there. Until then no handler is known.",
                id="scheduled_tasks.E010",
            )
            for problem in registry.problems
        ]
    try:
        return list(handler_problems())
    except InvalidHandler as error:
        return [Error(str(error), hint="Rename one of the functions.", id="scheduled_tasks.E003")]


def handler_problems() -> Iterator[CheckMessage]:
    for handler in registry.handlers.values():
        try:
            handler.spec  # noqa: B018 -- reads the signature
        except InvalidHandler as error:
            yield Error(
                str(error),
                hint="Handlers must accept keyword arguments with values that JSON can hold.",
                obj=handler.key,
                id="scheduled_tasks.E004",
            )


def check_declarations(**_: Any) -> list[CheckMessage]:
    """Check that each declared task has a handler, a valid definition and a unique name."""
    problems: list[CheckMessage] = []
    names: set[str] = set()
    try:
        declarations = registry.declarations
    except UnknownHandler as error:
        return [
            Error(
                str(error),
                hint="Name a registered handler in declare().",
                id="scheduled_tasks.E005",
            )
        ]
    except InvalidHandler:
        return []  # reported by E003 or E010
    for declaration in declarations:
        problems.extend(declaration_problems(declaration))
        if declaration.name in names:
            problems.append(
                Error(
                    f"Two declarations have the task name {declaration.name!r}.",
                    hint="Give one of them a different name.",
                    id="scheduled_tasks.E007",
                )
            )
        names.update(filter(None, [declaration.name]))
    problems += shared_names(declarations)
    return problems


def shared_names(declarations: list[Declaration]) -> Iterator[CheckMessage]:
    """Yield the names that declare() gives and a decorated function would get."""
    from scheduled_tasks.operations.sync import short_name  # noqa: PLC0415 -- needs loaded apps

    own = {short_name(item): item.handler for item in declarations if item.name is None}
    for name in sorted({item.name for item in declarations if item.name in own}):
        yield Error(
            f"declare() gives the task name {name!r}, which is that of the task that "
            f"@scheduled_task declares for {own[name]}.",
            hint="Pass another name= to declare().",
            id="scheduled_tasks.E007",
        )


def declaration_problems(declaration: Declaration) -> Iterator[CheckMessage]:
    """Yield the reasons for which a declared task cannot be saved."""
    from scheduled_tasks.operations.sync import new_task  # noqa: PLC0415 -- needs loaded apps

    task = new_task(declaration.name or "named-by-its-handler", declaration)
    try:
        task.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        for field, sentences in error.message_dict.items():
            if field != "handler":  # reported by E004
                yield Error(
                    f"The task declared for {declaration.handler} cannot be saved because of its "
                    f"{field}: {' '.join(sentences)}",
                    hint="Fix it in the declaration.",
                    id="scheduled_tasks.E006",
                )


def declared() -> list[Declaration]:
    """Return the declarations, or none if they are broken."""
    try:
        return registry.declarations
    except (UnknownHandler, InvalidHandler):
        return []  # reported by E003 or E005
