"""The handlers that code has registered, and the tasks that it has declared."""

from __future__ import annotations

import _sitebuiltins
import hashlib
import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from traceback import extract_tb
from typing import Any

from django import forms
from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import (
    InvalidHandler,
    InvalidSettings,
    ScheduledTasksError,
    UnknownHandler,
)
from scheduled_tasks.handlers.declarations import Declaration
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.payloads.signature import refuse_non_function
from scheduled_tasks.handlers.retries import Retry
from scheduled_tasks.mistakes import nearest
from scheduled_tasks.runtime.sanitizing import safe_repr

logger = logging.getLogger(__name__)

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
    #: The import of the module that it comes from; None for what was typed into a shell.
    imported: Any

    def is_redefined_by(self, function: Callable[..., Any], name: str | None) -> bool:
        """Whether a function of the same name and place takes its place, as after a reload."""
        # By name too: a loop may register one function under many names.
        if (where(self.function), self.name) != (where(function), name):
            return False
        at_the_top = "<locals>" not in function.__qualname__
        same_import = self.imported is not None and self.imported is import_of(function)
        # Of two functions in one import of a module, the second would hide the first.
        return function is self.function or not (at_the_top and same_import)


class HandlerRegistry:
    """Handlers by key. Keys are computed at the first look-up, after apps are loaded."""

    def __init__(self) -> None:
        self._registrations: list[Registration] = []
        self._declared: list[tuple[Callable[..., Any] | str, Declaration]] = []
        self._resolved: dict[str, Handler] | None = None
        #: Why modules with handlers could not be imported.
        self.problems: list[str] = []

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
        again = [item for item in self._registrations if item.is_redefined_by(function, name)]
        for known in again:
            self._registrations.remove(known)
            self._declared = [item for item in self._declared if item[0] is not known.function]
        imported = import_of(function)
        self._registrations.append(Registration(function, name, form, retry, imported))
        self._resolved = None

    def declare(self, handler: Callable[..., Any] | str, declaration: Declaration) -> None:
        """Declare a task. ``handler`` is a registered function or its key."""
        self._declared.append((handler, declaration))

    @property
    def handlers(self) -> dict[str, Handler]:
        """All handlers by key.

        Raise InvalidHandler if two functions have the same key, or code could not be imported.
        """
        if self.problems:
            raise InvalidHandler(" ".join(self.problems))
        if self._resolved is None:
            resolved: dict[str, Handler] = {}
            for item in self._registrations:
                key = item.name or default_key(item.function)
                if key in resolved:
                    raise InvalidHandler(
                        f"Two functions register the handler {key!r}: {place(item.function)} and "
                        f"{place(resolved[key].function)}. Give one of them another name=."
                    )
                resolved[key] = Handler(key, item.function, form=item.form, retry=item.retry)
            self._resolved = resolved
        return self._resolved

    def get(self, name: str) -> Handler:
        """Return the handler with this key or, if it is unique, with this short name.

        Raise UnknownHandler with similar names.
        """
        shown = safe_repr(name, limit=MAX_SHOWN_LENGTH)
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
            f"{safe_repr(function, limit=MAX_SHOWN_LENGTH)} is not a handler: decorate it with "
            "@scheduled_task, above all other decorators."
        )

    def advice(self, name: str) -> str:
        """Return a sentence that names similar handlers, or those that exist."""
        spelled = {handler.short_name.lower(): key for key, handler in self.handlers.items()}
        spelled.update({key.lower(): key for key in self.handlers})
        near = nearest(name, spelled, most=3, likeness=0.5)
        if near:
            return f"Did you mean {' or '.join(dict.fromkeys(spelled[word] for word in near))}?"
        if not self.handlers:
            return "No handlers are registered: decorate a function with @scheduled_task."
        shown = ", ".join(sorted(self.handlers)[:10])
        return f"Registered: {shown}{', …' if len(self.handlers) > 10 else ''}."  # noqa: PLR2004

    @property
    def declarations(self) -> list[Declaration]:
        """All declarations, with handlers by key and descriptions filled in.

        Raise UnknownHandler for a declaration whose handler is not registered, and whatever
        ``handlers`` raises.
        """
        _ = self.handlers  # also without declarations, or they would seem to be gone
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


#: What is wrong with a module that exits, and what to do about it.
EXITS = "ends the process when it is imported"
NO_EXIT = "Move what exits into a function, or below `if __name__ == '__main__':`."
#: The file of ``exit()`` and ``quit()``.
EXIT_FILE = _sitebuiltins.__file__

registry = HandlerRegistry()


def default_key(function: Callable[..., Any]) -> str:
    module = function.__module__ or "__main__"  # exec() makes functions without one
    app = apps.get_containing_app_config(module)
    label = app.label if app else module.partition(".")[0].strip("_")
    return f"{label}.{function.__name__}"


def where(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def place(function: Callable[..., Any]) -> str:
    """Return where a function is defined, with the line if that is known."""
    code = getattr(unwrap(function), "__code__", None)
    return where(function) + (f" (line {code.co_firstlineno})" if code else "")


def import_of(function: Callable[..., Any]) -> Any:
    """Return what stands for one import of the module of a function; a reload makes another."""
    return getattr(sys.modules.get(function.__module__ or ""), "__spec__", None)


def autodiscover() -> None:
    """Import DISCOVER_MODULES of every installed app.

    What a decorator refuses is kept for system checks and for whoever needs handlers, so that a
    command ends with a sentence and not in a traceback.
    """
    try:
        modules = app_settings.DISCOVER_MODULES
    except InvalidSettings:
        return  # the check E001 reports it, as soon as the apps are loaded
    for app in apps.get_app_configs():
        for module in modules:
            import_handlers(app, module)


def import_handlers(app: AppConfig, module: str) -> None:
    try:
        import_module(f"{app.name}.{module}")
    except ScheduledTasksError as error:
        keep_problem(f"{line_of(error) or f'{app.name}.{module}'}: {error}")
    except SystemExit as error:
        # It would end every command, and the web server, without a word.
        keep_problem(f"{line_of(error)}: {app.name}.{module} {EXITS}: {error!r}. {NO_EXIT}")
    except ImportError:
        if app.module is not None and module_has_submodule(app.module, module):
            raise


def keep_problem(problem: str) -> None:
    logger.error("handlers could not be imported: %s", problem)
    registry.problems.append(problem)


def line_of(error: BaseException) -> str:
    """Return the file and line of the call that was refused, "" if only our own code is known."""
    ours = str(Path(__file__).parents[1])
    frames = [
        frame
        for frame in extract_tb(error.__traceback__)
        if not frame.filename.startswith((ours, "<")) and frame.filename != EXIT_FILE
    ]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
