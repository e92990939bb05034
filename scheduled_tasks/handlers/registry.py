"""The handlers that code has registered, and the tasks that it has declared for them."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar, Unpack, overload

from django import forms
from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidHandler, InvalidSettings, UnknownHandler
from scheduled_tasks.handlers.declarations import (
    Declaration,
    Options,
    declaration_of,
    refuse_error_classes,
)
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.payloads.signature import refuse_what_is_no_function
from scheduled_tasks.handlers.retries import Retry, retry_of
from scheduled_tasks.schedules import Schedule

Function = TypeVar("Function", bound=Callable[..., Any])


class Handler:
    """A registered function: ``key`` is its name in the database, ``spec`` what it takes.

    ``retry`` tells which of its exceptions may be retried; the task's row, how often.
    """

    def __init__(
        self,
        key: str,
        function: Callable[..., Any],
        *,
        form: type[forms.Form] | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.key = key
        self.function = function
        self.form = form
        self.retry = retry or Retry()

    def __repr__(self) -> str:
        return f"<Handler {self.key}>"

    @property
    def short_name(self) -> str:
        """Return the last part of the key."""
        return self.key.rpartition(".")[2]

    @property
    def description(self) -> str:
        """Return the first paragraph of the function's docstring, as one line."""
        return " ".join((self.function.__doc__ or "").strip().partition("\n\n")[0].split())

    @cached_property
    def spec(self) -> PayloadSpec:
        """Read the signature. Raise InvalidHandler if it cannot serve."""
        return PayloadSpec.from_function(self.function, form=self.form)


@dataclass(frozen=True, slots=True)
class Registration:
    function: Callable[..., Any]
    name: str | None
    form: type[forms.Form] | None
    retry: Retry | None


class HandlerRegistry:
    """Handlers by key. Keys are worked out at the first look-up, once apps are loaded."""

    def __init__(self) -> None:
        self._registrations: list[Registration] = []
        self._declared: list[tuple[Callable[..., Any] | str, Declaration]] = []
        self._resolved: dict[str, Handler] | None = None

    def register(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        form: type[forms.Form] | None = None,
        retry: Retry | None = None,
    ) -> None:
        """Take a function in; one that is defined again, as a reloader does, is replaced.

        Raise InvalidHandler for what is not a function.
        """
        refuse_what_is_no_function(function)
        again = [
            known
            for known in self._registrations
            # By name too: a loop may define one function under many names.
            if (where(known.function), known.name) == (where(function), name)
        ]
        for known in again:
            self._registrations.remove(known)
            self._declared = [item for item in self._declared if item[0] is not known.function]
        self._registrations.append(Registration(function, name, form, retry))
        self._resolved = None

    def declare(self, handler: Callable[..., Any] | str, declaration: Declaration) -> None:
        """Note that code wants a task; ``handler`` is a registered function or its key."""
        self._declared.append((handler, declaration))

    @property
    def handlers(self) -> dict[str, Handler]:
        """Return all handlers by key. Raise InvalidHandler where two claim one key."""
        if self._resolved is None:
            resolved: dict[str, Handler] = {}
            for item in self._registrations:
                key = item.name or default_key(item.function)
                if key in resolved:
                    raise InvalidHandler(
                        f"Two functions register the handler {key!r}: {where(item.function)} and "
                        f"{where(resolved[key].function)}. Give one of them another name=."
                    )
                resolved[key] = Handler(key, item.function, form=item.form, retry=item.retry)
            self._resolved = resolved
        return self._resolved

    def get(self, name: str) -> Handler:
        """Return the handler of that key or, while it is the only one, of that short name.

        Raise UnknownHandler, naming what comes near.
        """
        if handler := self.handlers.get(name):
            return handler
        named = [handler for handler in self.handlers.values() if handler.short_name == name]
        match named:
            case [handler]:
                return handler
            case []:
                raise UnknownHandler(f"No handler is called {name!r}. {self.advice(name)}")
            case _:
                keys = ", ".join(sorted(handler.key for handler in named))
                raise UnknownHandler(f"Several handlers are called {name!r}: use one of {keys}.")

    def handler_of(self, function: Callable[..., Any]) -> Handler:
        """Return the handler that a function is registered as. Raise UnknownHandler."""
        for handler in self.handlers.values():
            if handler.function is function:
                return handler
        raise UnknownHandler(
            f"{function!r} is no handler: decorate it with @scheduled_task, above all other "
            "decorators."
        )

    def advice(self, name: str) -> str:
        """Say which handlers come near a name that is not one."""
        spelled = {handler.short_name.lower(): key for key, handler in self.handlers.items()}
        spelled.update({key.lower(): key for key in self.handlers})
        near = difflib.get_close_matches(str(name).lower(), spelled, n=3, cutoff=0.5)
        if near:
            return f"Did you mean {' or '.join(dict.fromkeys(spelled[word] for word in near))}?"
        if not self.handlers:
            return "No handlers are registered: decorate a function with @scheduled_task."
        shown = ", ".join(sorted(self.handlers)[:10])
        return f"Registered: {shown}{', …' if len(self.handlers) > 10 else ''}."  # noqa: PLR2004

    @property
    def declarations(self) -> list[Declaration]:
        """Return what code declares, with handlers by key and descriptions filled in.

        Raise UnknownHandler for a declaration without one.
        """
        found = []
        for handler, declaration in self._declared:
            known = self.get(handler) if isinstance(handler, str) else self.handler_of(handler)
            found.append(
                replace(
                    declaration,
                    handler=known.key,
                    description=declaration.description or known.description,
                )
            )
        return found

    def prepare(self) -> None:
        """Work out now what each handler takes, which is otherwise done at its first run."""
        for handler in self.handlers.values():
            with suppress(InvalidHandler):  # its runs will say so
                handler.spec.prepare()

    @property
    def digest(self) -> str:
        """Return a fingerprint of all declarations: equal code declares equal digests."""
        said = sorted(
            json.dumps(
                {name: getattr(item, name) for name in Declaration.__dataclass_fields__},
                sort_keys=True,
                default=str,
            )
            for item in self.declarations
        )
        return hashlib.sha256("\n".join(said).encode()).hexdigest()[:32]

    @contextmanager
    def isolated(self) -> Iterator[HandlerRegistry]:
        """Forget everything within the block and remember it after; for tests."""
        kept = (self._registrations, self._declared, self._resolved)
        self._registrations, self._declared, self._resolved = [], [], None
        try:
            yield self
        finally:
            self._registrations, self._declared, self._resolved = kept


registry = HandlerRegistry()


def default_key(function: Callable[..., Any]) -> str:
    module = function.__module__ or "__main__"  # exec() makes functions without one
    app = apps.get_containing_app_config(module)
    label = app.label if app else module.partition(".")[0].strip("_")
    return f"{label}.{function.__name__}"


def where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


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
    09:00"``), or left out for a task that is only run by hand. ``name`` replaces the key
    ``app_label.function``; ``form`` is a Django form for the arguments, where the signature does
    not say enough.

    Options, all of which can be changed in the admin afterwards: ``timezone`` (the project's
    TIME_ZONE), ``payload`` (the keyword arguments of each run), ``enabled`` (only when the task is
    first made), ``description`` (the first paragraph of the docstring), ``category``,
    ``metadata``, and the policies in ``handlers.policies.PolicyOptions``. docs/policies.md and
    docs/runs.md explain them.

    Return the function itself. Raise InvalidSchedule at once for a schedule or zone that cannot
    be understood, InvalidPayload for arguments that JSON cannot hold, InvalidTask for an
    option whose value it cannot hold, InvalidHandler for what is not a function, TypeError for an
    option that does not exist.
    """
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

    ``handler`` is the function or its key, ``name`` names the task; the options and what is raised
    are those of ``scheduled_task``.
    """
    refuse_error_classes("declare", options.get("retry"))
    registry.declare(handler, declaration_of("declare", schedule, name, options))


def autodiscover() -> None:
    """Import the modules of every installed app in which handlers are looked for."""
    try:
        modules = app_settings.DISCOVER_MODULES
    except InvalidSettings:
        return  # said by the check E001, which runs only once the apps are loaded
    for module in modules:
        autodiscover_modules(module)
