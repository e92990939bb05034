"""Where the code of an attempt runs: in a process of its own, or in a thread of the worker.

A ``Run`` goes in, its messages (``messages()``) and one ending (``finished()``) come out; the
worker writes both to the database, executors do not. ``dispatch`` is what the worker calls, in its
main thread; it submits each run to the executor that the task names.

Read ``base`` first, then ``runner`` (one attempt, from a Run to its Outcome, in whatever thread or
process it runs) and ``thread``, the simplest executor; ``process`` is the default.
"""

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
    """Return the executor with this name or dotted path. Raise InvalidSettings with the reason."""
    from scheduled_tasks.executors.base import Executor  # noqa: PLC0415 -- it imports this package

    path = EXECUTORS.get(name, name)
    try:
        found = import_string(path)
    except Exception as error:  # noqa: BLE001 -- a bad name, or whatever its module raises
        raise InvalidSettings(
            f"{name!r} is not an executor: use {' or '.join(EXECUTORS)}, or the dotted path of "
            f"your own class ({error})."
        ) from None
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise InvalidSettings(
            f"{name!r} is not an executor: {path} is not a subclass of "
            "scheduled_tasks.executors.base.Executor."
        )
    if missing := sorted(found.__abstractmethods__):
        raise InvalidSettings(f"{name!r} is not an executor: {path} lacks {', '.join(missing)}.")
    return found
