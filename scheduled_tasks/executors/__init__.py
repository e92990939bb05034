"""Where the code of an attempt runs. Tasks name one; EXECUTOR may give a dotted path too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from scheduled_tasks.exceptions import InvalidSettings

if TYPE_CHECKING:
    from scheduled_tasks.executors.base import Executor

#: The executors of this package by the name that tasks and settings give them.
EXECUTORS = {
    "process": "scheduled_tasks.executors.process.executor.ProcessExecutor",
    "thread": "scheduled_tasks.executors.thread.ThreadExecutor",
}


def executor_class(name: str) -> type[Executor]:
    """Return the executor of that name or dotted path. Raise InvalidSettings with the reason."""
    from scheduled_tasks.executors.base import Executor  # noqa: PLC0415 -- it imports this package

    path = EXECUTORS.get(name, name)
    try:
        found = import_string(path)
    except Exception as error:  # noqa: BLE001 -- a bad name, or whatever its module raises
        raise InvalidSettings(
            f"{name!r} names no executor: there are {', '.join(EXECUTORS)}, or give the dotted "
            f"path of a class of your own ({error})."
        ) from None
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise InvalidSettings(
            f"{name!r} names no executor: {path} is no subclass of "
            "scheduled_tasks.executors.base.Executor."
        )
    return found
