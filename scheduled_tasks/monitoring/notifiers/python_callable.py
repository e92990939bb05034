"""Notifications for a function of the project."""

from __future__ import annotations

from asyncio import iscoroutinefunction
from collections.abc import Callable
from inspect import signature
from typing import Any

from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.monitoring.notifiers.base import Notifier
from scheduled_tasks.monitoring.notifiers.errors import error_text
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.notifiers.options import refused

WANTED = "a function that takes a notification, or the dotted path of one"


class CallableNotifier(Notifier):
    """Calls a function with each notification. What it raises is a failure."""

    def __init__(self, *, function: str | Callable[[Notification], Any]) -> None:
        self.function = imported(function) if isinstance(function, str) else function
        if not callable(self.function):
            raise refused("function", WANTED)
        try:
            signature(self.function).bind(None)
        except TypeError:
            raise refused("function", WANTED) from None
        except ValueError:  # builtins may have no signature
            pass

    def send(self, notification: Notification) -> None:
        """Call the function, or run it to its end if it is a coroutine function."""
        if iscoroutinefunction(self.function):
            async_to_sync(self.function)(notification)
        else:
            self.function(notification)

    def __str__(self) -> str:
        """Return the name of the function, with its module."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return f"{self.function.__module__}.{name}"


def imported(path: str) -> Any:
    if not path.strip():
        raise InvalidSettings(f"the option 'function' is empty: it must be {WANTED}.")
    try:
        return import_string(path)
    except Exception as error:  # noqa: BLE001 -- a bad name, or whatever its module raises
        raise InvalidSettings(
            f"the option 'function' cannot be imported: {error_text(error).rstrip('.')}."
        ) from None
