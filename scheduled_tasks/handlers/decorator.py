"""``@scheduled_task`` and ``declare``: how code registers handlers and declares tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from django import forms

from scheduled_tasks.handlers.declarations import Options, declaration_of, refuse_error_classes
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.handlers.retries import retry_of
from scheduled_tasks.schedules import Schedule

Function = TypeVar("Function", bound=Callable[..., Any])


@overload
def scheduled_task(schedule: Function, /) -> Function: ...
@overload
def scheduled_task(
    schedule: Schedule | str | None = None,
    /,
    *,
    name: str | None = None,
    form: type[forms.Form] | None = None,
    **options: Unpack[Options],
) -> Callable[[Function], Function]: ...
def scheduled_task(
    schedule: Schedule | str | Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    form: type[forms.Form] | None = None,
    **options: Unpack[Options],
) -> Any:
    """Register a function as a handler and declare a task for it.

    ``schedule`` is a value or its text (``"0 2 * * *"``, ``"every 15 minutes"``, ``"at 2030-01-01
    09:00"``), or left out for a task that is only run manually. ``name`` names the handler and the
    task, instead of ``app_label.function`` and ``function``; ``form`` is a Django form for the
    arguments, if the signature does not say enough.

    Options, which can all be changed in the admin afterwards: ``timezone`` (the project's
    TIME_ZONE), ``payload`` (the keyword arguments of each run), ``enabled`` (only when the task is
    first created), ``description`` (the first paragraph of the docstring), ``category``,
    ``metadata``, and the policies in ``handlers.policies.PolicyOptions``. docs/policies.md and
    docs/runs.md explain them.

    Return the function itself. Raise InvalidSchedule for an invalid schedule or time zone,
    InvalidPayload for arguments without a JSON form, InvalidTask for the invalid value of an
    option, InvalidHandler for anything but a function, TypeError for an unknown option.
    """
    # Written without parentheses.
    if callable(schedule):
        return scheduled_task(name=name, form=form, **options)(schedule)
    declaration = declaration_of("scheduled_task", schedule, name, options)
    retry = retry_of(options["retry"]) if "retry" in options else None

    def decorate(function: Function) -> Function:
        registry.register(function, name=name, form=form, retry=retry)
        registry.declare(function, declaration)
        return function

    return decorate


def declare(
    handler: Callable[..., Any] | str,
    schedule: Schedule | str | None = None,
    *,
    name: str,
    **options: Unpack[Options],
) -> None:
    """Declare one more task for a registered handler: another schedule, another payload.

    ``handler`` is the function or its key, ``name`` is the name of the task. Options and exceptions
    are those of ``scheduled_task``.
    """
    refuse_error_classes("declare", options.get("retry"))
    registry.declare(handler, declaration_of("declare", schedule, name, options))
