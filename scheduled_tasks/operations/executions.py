"""The operations on executions: look up, cancel, requeue, resolve."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from scheduled_tasks.exceptions import TooLate, UnknownExecution
from scheduled_tasks.handlers.declarations import as_object
from scheduled_tasks.lifecycle import requeueing, resolving, stopping
from scheduled_tasks.lifecycle.requeueing import Requeued
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.models.task import is_name
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.operations.refusals import why_not_cancelled, why_not_settled
from scheduled_tasks.operations.tasks import shortened

#: Of a BigAutoField.
MAX_ID = 2**63 - 1


def cancel_execution(execution_id: int, *, reason: str = "", by: str = BY_CODE) -> Execution:
    """Cancel an execution and return it. If it runs, it is asked to stop.

    ``reason`` and ``by`` are recorded. Raise UnknownExecution, or TooLate if it has ended or was
    cancelled before.
    """
    execution_id = as_id(execution_id)
    if stopping.cancel([execution_id], timezone.now(), reason=reason, by=by):
        return get_execution(execution_id)
    raise TooLate(why_not_cancelled(get_execution(execution_id)))


def requeue_execution(
    execution_id: int, payload: Mapping[str, Any] | None = None, *, by: str = BY_CODE
) -> Execution:
    """Queue a new execution for a failed one and return it; the failed one is then resolved.

    It has the payload of the failed one unless ``payload`` is given. Raise UnknownExecution,
    UnknownHandler or InvalidPayload, or TooLate if the execution has not failed, was requeued or
    resolved before, or if its task was deleted.
    """
    failed = get_execution(execution_id)
    given = None if payload is None else as_object("payload", payload)
    # For the reason only: the guarded requeue below decides.
    refuse_unless_dead(failed)
    failed.check_payload(given)
    again = requeueing.requeue(execution_id, timezone.now(), by=by, payload=given)
    if again is None:
        raise TooLate(why_not_settled(get_execution(execution_id)))
    return again


def refuse_unless_dead(execution: Execution) -> None:
    """Raise TooLate if an execution cannot be requeued."""
    if not execution.may_be_requeued:
        raise TooLate(why_not_settled(execution))


def resolve_execution(execution_id: int, reason: str, *, by: str = BY_CODE) -> Execution:
    """Mark a failed execution as resolved, without another run, and return it.

    ``reason`` and ``by`` are recorded. Raise UnknownExecution, InvalidTask without a reason, or
    TooLate if the execution has not failed, or was requeued or resolved before.
    """
    execution_id = as_id(execution_id)
    if resolving.resolve([execution_id], timezone.now(), reason=reason, by=by):
        return get_execution(execution_id)
    raise TooLate(why_not_settled(get_execution(execution_id)))


def cancel_executions(ids: Collection[int], *, reason: str = "", by: str = BY_CODE) -> list[int]:
    """Cancel any number of executions; return the ids of those that this has changed.

    Queued executions are cancelled at once; running ones are asked to stop. Raise UnknownExecution
    for what cannot be an id; ids that no execution has are left out.
    """
    return stopping.cancel(as_ids(ids), timezone.now(), reason=reason, by=by)


def requeue_executions(ids: Collection[int], *, by: str = BY_CODE) -> Requeued:
    """Queue a new execution for each failed one, with its payload.

    Those whose handler is not registered, or does not accept the payload, are refused. Raise
    UnknownExecution for what cannot be an id; ids that no execution has are left out.
    """
    return requeueing.requeue_all(as_ids(ids), timezone.now(), by=by)


def resolve_executions(ids: Collection[int], reason: str, *, by: str = BY_CODE) -> list[int]:
    """Mark failed executions as resolved; return the ids of those that were unresolved.

    Raise InvalidTask without a reason, or UnknownExecution for what cannot be an id; ids that no
    execution has are left out.
    """
    return resolving.resolve(as_ids(ids), timezone.now(), reason=reason, by=by)


def dead_letters() -> QuerySet[Execution]:
    """Return the failed executions that are neither requeued nor resolved, newest first."""
    return Execution.objects.dead()


def get_execution(execution_id: int) -> Execution:
    """Return the execution with that id. Raise UnknownExecution."""
    if row := Execution.objects.on_primary().filter(pk=as_id(execution_id)).first():
        return row
    raise UnknownExecution(f"There is no execution {execution_id}. It may have been deleted.")


def as_id(given: object) -> int:
    """Return an id, also if it is given as text. Raise UnknownExecution for what cannot be one."""
    digits = isinstance(given, str) and given.isdecimal() and len(given) <= len(str(MAX_ID))
    number = int(given) if isinstance(given, str) and digits else given
    number = number if type(number) is int else 0
    if not 0 < number <= MAX_ID:
        raise UnknownExecution(
            f"There is no execution {shortened(given)}: ids are positive whole numbers."
        )
    return number


def as_ids(given: Collection[int]) -> list[int]:
    """Return ids like ``as_id``. Raise UnknownExecution, also for a text or a single number."""
    # The items of a text are its digits, and those of bytes are numbers.
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise UnknownExecution(f"Ids of executions come in a list, not as {shortened(given)}.")
    return [as_id(each) for each in given]


def task_history(name: str) -> QuerySet[Execution]:
    """Return the executions of a task, newest first. The task may have been deleted."""
    if not is_name(name):
        return Execution.objects.none()
    task = Task.objects.filter(name=name).first()
    if task is not None:
        return Execution.objects.filter(task=task)
    return Execution.objects.of_deleted_task(name)


def recent_executions() -> QuerySet[Execution]:
    """Return the executions of all tasks, newest first."""
    return Execution.objects.all()
