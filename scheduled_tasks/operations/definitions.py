"""The operations that define tasks from Python: register, change, unregister."""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from typing import Any

from django.db import IntegrityError
from django.db.models import QuerySet

from scheduled_tasks.exceptions import (
    InvalidPayload,
    InvalidSchedule,
    InvalidTask,
    UnknownTask,
)
from scheduled_tasks.handlers.declarations import (
    as_fields,
    as_object,
    refuse_error_classes,
    retry_fields,
    schedule_fields,
    unknown_options,
)
from scheduled_tasks.handlers.payloads.json_values import same
from scheduled_tasks.handlers.retries import Retry
from scheduled_tasks.models import Task
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.models.sql.compiled import CompiledQuery
from scheduled_tasks.models.sql.transactions import MAX_TRIES, write_alias
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task import is_name
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.operations.tasks import (
    HOW_TO_RESUME,
    PAUSE_FIELDS,
    as_task,
    disable_task,
    get_task,
    refuse_past,
)
from scheduled_tasks.schedules import Schedule

#: The options of ``register_task`` besides its named arguments.
FURTHER_FIELDS = (
    "anchor",
    "enabled",
    "description",
    "category",
    "metadata",
    "retry",
    *PAUSE_FIELDS,
    *Policies.DECLARED_FIELDS,
)
#: The named arguments of ``register_task`` that are options.
NAMED_OPTIONS = ("timezone", "payload", "by")
#: What ``change_task`` can change.
CHANGEABLE_FIELDS = ("handler", "schedule", "timezone", "payload", *FURTHER_FIELDS)
RETRY_FIELDS = tuple(retry_fields(Retry()))


class NotGiven(enum.Enum):
    """Stands for an argument that the caller has left out, where None is a value."""

    NOT_GIVEN = "not given"


def register_task(
    name: str,
    handler: str,
    schedule: Schedule | str | NotGiven | None = NotGiven.NOT_GIVEN,
    *,
    timezone: str | None = None,
    payload: Mapping[str, Any] | None = None,
    by: str = BY_CODE,
    **options: Any,
) -> Task:
    """Create a task, or change the task of that name, and return it.

    ``handler`` is the key or the short name of a registered handler. ``options`` are the fields in
    FURTHER_FIELDS. Whatever is not given keeps its value; with the schedule None the task only runs
    when asked to, like a new task without one. Durations may be timedeltas, and ``retry`` takes the
    same values as in ``scheduled_task``. ``by`` is recorded as the author of the change. Nothing is
    written if the task is as it should be, and any number of processes may register it at once.

    Raise InvalidTask with the reasons by field, or UnknownOption; then nothing is saved.
    """
    refuse_unknown("register_task", options, FURTHER_FIELDS, also=("schedule", *NAMED_OPTIONS))
    given: dict[str, Any] = {"handler": handler, **options}
    if schedule is not NotGiven.NOT_GIVEN:
        given["schedule"] = schedule
    given |= {
        field: value
        for field, value in (("timezone", timezone), ("payload", payload))
        if value is not None
    }
    fields = fields_of("register_task", given)
    for _again in range(MAX_TRIES):
        task = stored(name) or Task(name=name, origin=Task.Origin.API)
        try:
            return write(task, fields, by=by)
        except (IntegrityError, UnknownTask) as error:
            # Another process has just created or deleted it, so it has to be read again.
            refused = error
    raise InvalidTask(
        {"name": [f"{name!r} was created or deleted by another transaction: try again."]}
    ) from refused


def change_task(name: str | Task, *, by: str = BY_CODE, **fields: Any) -> Task:
    """Change fields of a task that exists, and return it; the others keep their values.

    ``fields`` are the arguments of ``register_task``. Raise UnknownTask, InvalidTask with the
    reasons by field, also for a new ``paused_until`` that has passed, or UnknownOption; then
    nothing is saved.
    """
    refuse_unknown("change_task", fields, CHANGEABLE_FIELDS, also=("by",))
    return write(as_task(name), fields_of("change_task", fields), by=by, allow_past_pause=False)


def unregister_task(name: str, *, by: str = BY_CODE) -> None:
    """Delete a task and keep its history. A task declared in code is disabled instead.

    Raise UnknownTask.
    """
    task = get_task(name)
    if task.declared_in_code:
        disable_task(name, by=by)
    else:
        task.delete(by=by)


def stored(name: object) -> Task | None:
    """Return the task of that name with its state, from the primary; None if there is none."""
    if not is_name(name):
        return None  # refused with the other fields
    return next(iter(NAMED.rows(Task.objects.using(write_alias()), name=name)), None)


def named(everything: QuerySet[Task], *, name: str) -> QuerySet[Task]:
    """Return a query for the task of a name, with its state."""
    return everything.select_related("state").filter(name=name).order_by()


NAMED = CompiledQuery(named, "name")


def write(task: Task, fields: Mapping[str, Any], *, by: str, allow_past_pause: bool = True) -> Task:
    """Set fields of a task, check it and save these fields; write nothing if none differs.

    What registers a task at each start may go on to do so when its ``paused_until`` has passed.
    """
    refuse_unstorable(by=by)
    before = {field: getattr(task, field) for field in fields}
    for field, value in fields.items():
        setattr(task, field, value)
    is_new = task.pk is None
    try:
        # Whether the name is free is decided by the insert.
        task.validate(unique=False)
        until = task.paused_until
        if (
            not allow_past_pause
            and until is not None
            and before.get("paused_until", until) != until
        ):
            refuse_past("paused_until", until, now=None, advice=HOW_TO_RESUME)
    except InvalidTask:
        # The caller may go on with the task.
        for field, value in before.items():
            setattr(task, field, value)
        raise
    if not is_new and is_as_before(task, before):
        return task
    task.save(
        # Only what is given: the rest may have changed since the row was read.
        update_fields=None if is_new else tuple(fields),
        by=by,
        anchor_given=fields.get("anchor") is not None,
    )
    return task


def is_as_before(task: Task, before: Mapping[str, Any]) -> bool:
    """Whether a save would write nothing. A parked task may be unparked by it."""
    equal = all(same(getattr(task, field), value) for field, value in before.items())
    return equal and hasattr(task, "state") and task.state.parked_at is None


def fields_of(caller: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a caller has given as fields of a task. Raise InvalidTask by argument."""
    refuse_error_classes(caller, given.get("retry"))
    if "retry" in given and (twice := sorted(set(RETRY_FIELDS).intersection(given))):
        raise InvalidTask({"retry": [f"cannot be given together with {twice[0]}."]})
    fields = as_fields(given)
    try:
        if "schedule" in fields:
            own = schedule_fields(fields["schedule"], fields.get("timezone"))
            refuse_two_anchors(own, fields)
            # None beside a schedule that has it is nothing given.
            unset = {"schedule"} | {field for field in own if fields.get(field) is None}
            fields = own | {field: value for field, value in fields.items() if field not in unset}
        for field in {"payload", "metadata"}.intersection(fields):
            fields[field] = as_object(field, fields[field])
    except InvalidSchedule as error:
        raise InvalidTask({"schedule": [str(error)]}) from None
    except InvalidPayload as error:
        raise InvalidTask(error.errors) from None
    return fields


def refuse_two_anchors(own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Raise InvalidTask for an Interval with an anchor of its own beside another ``anchor=``."""
    anchor = given.get("anchor")
    if "anchor" in own and anchor is not None and anchor != own["anchor"]:
        raise InvalidTask({"anchor": ["differs from that of the schedule: give one of them."]})


def refuse_unknown(
    caller: str, given: Collection[str], known: Collection[str], *, also: Collection[str]
) -> None:
    """Raise UnknownOption for the options that a caller has given and that do not exist."""
    if unknown := sorted(set(given).difference(known)):
        raise unknown_options(caller, unknown, [*also, *known])
