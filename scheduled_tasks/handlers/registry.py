"""The handlers that code has registered, and the tasks that it has declared."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django import forms
from django.apps import apps
from django.utils.module_loading import autodiscover_modules

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import InvalidHandler, InvalidSettings, UnknownHandler
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.payloads.signature import refuse_non_function
from scheduled_tasks.handlers.retries import Retry
from scheduled_tasks.runtime.sanitizing import safe_repr

#: Of what was given as a name, in characters.
MAX_SHOWN_LENGTH = 220


class Handler:
    """A registered function. ``key`` is its name in the database, ``spec`` its arguments.

    ``retry`` says which of its exceptions are retried; the task's row says how often.
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
        return self.key.rpartition(".")[2]

    @property
    def description(self) -> str:
        """The first paragraph of the function's docstring, as one line."""
        return " ".join((self.function.__doc__ or "").strip().partition("\n\n")[0].split())

    @cached_property
    def spec(self) -> PayloadSpec:
        """The arguments. Raise InvalidHandler if the function cannot be a handler."""
        return PayloadSpec.from_function(self.function, form=self.form)


@dataclass(frozen=True, slots=True)
class Registration:
    function: Callable[..., Any]
    name: str | None
    form: type[forms.Form] | None
    retry: Retry | None


class HandlerRegistry:
    """Handlers by key. Keys are computed at the first look-up, after apps are loaded."""

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
        """Register a function. A redefinition, as by a reloader, replaces the first one.

        Raise InvalidHandler for anything but a function.
        """
        refuse_non_function(function)
        again = [
            known
            for known in self._registrations
            # By name too: a loop may register one function under many names.
            if (where(known.function), known.name) == (where(function), name)
        ]
        for known in again:
            self._registrations.remove(known)
            self._declared = [item for item in self._declared if item[0] is not known.function]
        self._registrations.append(Registration(function, name, form, retry))
        self._resolved = None

    def declare(self, handler: Callable[..., Any] | str, declaration: Declaration) -> None:
        """Declare a task. ``handler`` is a registered function or its key."""
        self._declared.append((handler, declaration))

    @property
    def handlers(self) -> dict[str, Handler]:
        """All handlers by key. Raise InvalidHandler if two functions have the same key."""
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
        """Return the handler with this key or, if it is unique, with this short name.

        Raise UnknownHandler with similar names.
        """
        shown = safe_repr(name)[:MAX_SHOWN_LENGTH]
        if not isinstance(name, str):
            raise UnknownHandler(f"A handler is named with text, not {shown}.")
        if handler := self.handlers.get(name):
            return handler
        named = [handler for handler in self.handlers.values() if handler.short_name == name]
        match named:
            case [handler]:
                return handler
            case []:
                raise UnknownHandler(f"No handler is called {shown}. {self.advice(name[:200])}")
            case _:
                keys = ", ".join(sorted(handler.key for handler in named))
                raise UnknownHandler(f"Several handlers are called {shown}: use one of {keys}.")

    def handler_of(self, function: Callable[..., Any]) -> Handler:
        """Return the handler of a function. Raise UnknownHandler if it is not registered."""
        for handler in self.handlers.values():
            if handler.function is function:
                return handler
        raise UnknownHandler(
            f"{function!r} is not a handler: decorate it with @scheduled_task, above all other "
            "decorators."
        )

    def advice(self, name: str) -> str:
        """Return a sentence that names similar handlers, or those that exist."""
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
        """All declarations, with handlers by key and descriptions filled in.

        Raise UnknownHandler for a declaration whose handler is not registered.
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
        """Read the signatures now, which otherwise happens at the first run of each handler."""
        for handler in self.handlers.values():
            with suppress(InvalidHandler):  # its runs will fail with this error
                handler.spec.prepare()

    @property
    def digest(self) -> str:
        """A fingerprint of all declarations: equal code has equal digests."""
        # Sorted, because the order of imports must not make equal code look different.
        declared = sorted(
            json.dumps(
                {name: getattr(item, name) for name in Declaration.__dataclass_fields__},
                sort_keys=True,
                default=str,
            )
            for item in self.declarations
        )
        return hashlib.sha256("\n".join(declared).encode()).hexdigest()[:32]


registry = HandlerRegistry()


def default_key(function: Callable[..., Any]) -> str:
    module = function.__module__ or "__main__"  # exec() makes functions without one
    app = apps.get_containing_app_config(module)
    label = app.label if app else module.partition(".")[0].strip("_")
    return f"{label}.{function.__name__}"


def where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def autodiscover() -> None:
    """Import DISCOVER_MODULES of every installed app."""
    try:
        modules = app_settings.DISCOVER_MODULES
    except InvalidSettings:
        return  # the check E001 reports it, as soon as the apps are loaded
    for module in modules:
        autodiscover_modules(module)
