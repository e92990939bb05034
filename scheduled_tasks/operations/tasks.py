"""The operations on tasks: look up, enable, disable, pause, reset to code, run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidTask, UnknownHandler, UnknownTask
from scheduled_tasks.handlers.declarations import as_object, showable
from scheduled_tasks.handlers.registry import Handler, registry
from scheduled_tasks.lifecycle import queueing
from scheduled_tasks.mistakes import nearest
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.pause import MAX_REASON_LENGTH
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task import is_name
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.operations.sync import sync
from scheduled_tasks.runtime.sanitizing import safe_repr

#: What the pause of a task is made of.
PAUSE_FIELDS = ("paused_until", "pause_reason")
#: What to do instead of ending a pause in the past.
HOW_TO_RESUME = "resume_task() ends a pause"
#: In characters, of what was given instead of a name.
MAX_SHOWN_LENGTH = 120


def get_task(name: str) -> Task:
    """Return the task of that name. Raise UnknownTask, with similar names."""
    # No query for an impossible name: some databases refuse NUL, for example.
    if is_name(name) and (task := primary().filter(name=name).first()):
        return task
    names = primary().values_list("name", flat=True)
    near = nearest(shortened(name), names, most=3, likeness=0.5)
    advice = f"Did you mean {' or '.join(near)}?" if near else "listtasks shows all tasks."
    raise UnknownTask(f"No task is called {shortened(name)}. {advice}")


def find_task(name: str) -> Task:
    """Return the task of that name or handler; sync if it is only declared in code.

    Raise UnknownTask, also if several tasks use the handler.
    """
    try:
        return get_task(name)
    except UnknownTask as error:
        no_such_task = str(error)
    try:
        key = registry.get(name).key
    except UnknownHandler as error:
        if name not in {declaration.name for declaration in registry.declarations}:
            raise UnknownTask(f"{no_such_task} {error}") from None
        sync()
        return get_task(name)
    tasks = primary().filter(handler=key)
    if not tasks:
        sync()
    # all() asks again: the sync may have made the task since.
    match list(tasks.all()[:2]):
        case [task]:
            return task
        case []:
            raise UnknownTask(f"No task uses the handler {key}: create one in the admin.")
        case _:
            names = ", ".join(tasks.values_list("name", flat=True)[:10])
            raise UnknownTask(f"Several tasks use the handler {key}: run one of {names}.")


def list_tasks() -> QuerySet[Task]:
    """Return all tasks with their states, ordered by name."""
    return Task.objects.select_related("state")


def primary() -> QuerySet[Task]:
    """Return all tasks from the database that the router writes to: replicas may lag behind."""
    return list_tasks().using(write_alias())


def enable_task(name: str | Task, *, by: str = BY_CODE) -> Task:
    """Enable a task: it fires from now on, and nothing is caught up. Raise UnknownTask."""
    return as_task(name).switch(enabled=True, by=by)


def disable_task(name: str | Task, *, by: str = BY_CODE) -> Task:
    """Disable a task: it does not fire, but can still be run. Raise UnknownTask."""
    return as_task(name).switch(enabled=False, by=by)


def pause_task(
    name: str | Task,
    until: datetime,
    *,
    reason: str = "",
    by: str = BY_CODE,
    now: datetime | None = None,
) -> Task:
    """Pause a task: its slots before a moment are skipped, from ``now`` (the present moment) on.

    Raise UnknownTask, or InvalidTask, for example for a moment that has passed.
    """
    refuse_unstorable(reason=reason, limit=MAX_REASON_LENGTH)
    refuse_past("until", until, now=now, advice=HOW_TO_RESUME)
    return set_pause(as_task(name), until, reason, by=by, now=now)


def refuse_past(option: str, moment: Any, *, now: datetime | None, advice: str) -> None:
    """Raise InvalidTask for anything but a moment that is still to come."""
    if showable(option, moment) <= (timezone.now() if now is None else showable("now", now)):
        raise InvalidTask({option: [f"{moment} is in the past: give a later moment; {advice}."]})


def resume_task(name: str | Task, *, by: str = BY_CODE, now: datetime | None = None) -> Task:
    """End the pause of a task: its next slot after ``now`` (the present moment) fires.

    Raise UnknownTask.
    """
    if now is not None:
        showable("now", now)
    return set_pause(as_task(name), None, "", by=by, now=now)


def set_pause(
    task: Task, until: datetime | None, reason: str, *, by: str, now: datetime | None
) -> Task:
    task.paused_until, task.pause_reason = until, reason
    task.validate_fields(PAUSE_FIELDS)
    task.save(update_fields=PAUSE_FIELDS, by=by, now=now)
    return task


def reset_task_to_code(name: str | Task, *, by: str = BY_CODE) -> Task:
    """Undo what people changed of a declared task, except ``enabled``. Raise UnknownTask."""
    task = as_task(name)
    task.reset_to_code(by=by)
    return task


def as_task(name: str | Task) -> Task:
    """Return a task as it is, or the one of that name. Raise UnknownTask."""
    if isinstance(name, Task):
        return name if name.pk else get_task(name.name)
    return get_task(name)


def run_task_now(
    name: str | Task,
    payload: Mapping[str, Any] | None = None,
    *,
    by: str = BY_CODE,
    trigger: str = Execution.Trigger.MANUAL,
    test_mode: bool = False,
    now: datetime | None = None,
) -> Execution:
    """Queue one execution of a task for the next free worker and return it.

    ``payload`` replaces the task's own. The schedule does not change. A disabled or paused task can
    be run as well. If the task must not overlap, the execution waits for the one that runs. In
    ``test_mode`` the handler can see that it is a trial, and the outcome does not count for the
    task. ``by`` is recorded as who asked for it. Raise UnknownTask, UnknownHandler, InvalidPayload
    or InvalidTask.
    """
    execution = prepare(
        name,
        payload,
        by=by,
        trigger=trigger,
        test_mode=test_mode,
        now=now,
    )
    queueing.queue(execution)
    return execution


def prepare(
    name: str | Task,
    payload: Mapping[str, Any] | None = None,
    *,
    by: str = BY_CODE,
    trigger: str = Execution.Trigger.MANUAL,
    test_mode: bool = False,
    now: datetime | None = None,
) -> Execution:
    """Build an unsaved execution for ``run_task_now``, with a valid payload."""
    refuse_unstorable(by=by)
    if trigger not in Execution.Trigger.values:
        raise InvalidTask({"trigger": [f"must be one of {', '.join(Execution.Trigger.values)}."]})
    if not isinstance(test_mode, bool):
        raise InvalidTask({"test_mode": [f"must be True or False, not {shortened(test_mode)}."]})
    if now is not None:
        showable("now", now)
    task = as_task(name)
    given = task.payload if payload is None else as_object("payload", payload)
    registry.get(task.handler).spec.clean(given)
    return Execution.for_task(
        task,
        trigger=trigger,
        now=now or timezone.now(),
        payload=given,
        triggered_by=by,
        test_mode=test_mode,
    )


def shortened(name: object) -> str:
    """Return what was given as a name, for a message."""
    text = safe_repr(name)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"


def list_handlers() -> list[Handler]:
    """Return the registered handlers, ordered by key."""
    return [registry.handlers[key] for key in sorted(registry.handlers)]
