"""Delete executions: those that a person selected, and those that are old."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q
from django.db.models.signals import post_delete, pre_delete

from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.models.attempt import Attempt
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_log import ExecutionLog
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import transactional, write_alias
from scheduled_tasks.runtime.django_internals import delete_alone


def delete_executions(ids: Collection[int]) -> list[int]:
    """Delete executions with their logs and attempts; return the ids of those that this deleted.

    Running ones stay: their worker could not record how they end.
    """
    using = write_alias()
    return [pk for batch in batches(ids) for pk in delete_batch(batch, using=using)]


@transactional
def delete_batch(ids: Collection[int], *, using: str) -> list[int]:
    everything = Execution.objects.using(using)
    idle = everything.filter(AnyOf("pk", ids)).exclude(status=Execution.Status.RUNNING)
    found = list(idle.locked().values_list("pk", flat=True))
    # Only the key, although the rows are large: the deletion has to look for what refers to them.
    idle.filter(AnyOf("pk", found)).only("pk").delete()
    return found


@transactional
def delete_expired_executions(
    ids: Collection[int], expired: Q, *, using: str = ""
) -> tuple[set[int], int]:
    """Delete those of these executions that have expired still, with their attempts.

    Return the ids of what was deleted, and the number of attempts. What another transaction holds
    is left out.
    """
    everything = Execution.objects.using(using)
    rows = everything.filter(AnyOf("pk", ids), expired).locked(skip=True)
    found = set(rows.values_list("pk", flat=True))
    found -= requeued_elsewhere(found, using=using)
    attempts = delete_with_children(found, using=using) if found else 0
    return found, attempts


def delete_with_children(ids: Collection[int], *, using: str) -> int:
    """Delete executions within a transaction; return the number of attempts that went with them."""
    rows = Execution.objects.using(using).filter(AnyOf("pk", ids)).order_by()
    if is_watched():
        return rows.only("pk").delete()[1].get(Attempt._meta.label, 0)  # noqa: SLF001
    # One statement for each table. Django would select the rows first, and delete a hundred in
    # each statement, which takes half as long again.
    attempts, _ = Attempt.objects.using(using).filter(AnyOf("execution", ids)).order_by().delete()
    ExecutionLog.objects.using(using).filter(AnyOf("execution", ids)).order_by().delete()
    Execution.objects.using(using).filter(AnyOf("requeue_of", ids)).update(requeue_of=None)
    delete_alone(rows)
    return attempts


def is_watched() -> bool:
    """Whether other apps refer to executions, or receive a signal when one is deleted."""
    referring = {relation.related_model for relation in Execution._meta.related_objects}  # noqa: SLF001
    signals = (pre_delete, post_delete)
    return not referring <= {Attempt, Execution, ExecutionLog} or any(
        signal.has_listeners(Execution) for signal in signals
    )


def requeued_elsewhere(ids: Collection[int], *, using: str) -> set[int]:
    """Lock the rows that refer to these as ``requeue_of``; return the ids whose row is not free.

    The deletion clears that column, and must not wait for a row that a run keeps busy.
    """
    again = Execution.objects.using(using).filter(AnyOf("requeue_of", ids))
    origins = dict(again.order_by().values_list("pk", "requeue_of_id"))
    if not origins:
        return set()
    rows = again.filter(AnyOf("pk", origins)).locked(skip=True)
    free = set(rows.values_list("pk", flat=True))
    return {origin for pk, origin in origins.items() if origin and pk not in free}


@transactional
def delete_log_lines(ids: Collection[int], *, using: str = "") -> int:
    """Delete log lines; return how many were there still."""
    return ExecutionLog.objects.using(using).filter(AnyOf("pk", ids)).order_by().delete()[0]
