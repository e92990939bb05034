"""Queue: a run is requested, for any worker or for the process that asks for it."""

from __future__ import annotations

from datetime import datetime

from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import AlreadyRunning, UnknownTask
from scheduled_tasks.lifecycle.claiming import choose, hand_over
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import transactional, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.wording import duration


@transactional
def queue(execution: Execution, *, using: str = "") -> None:
    """Save a new execution. Raise UnknownTask if its task was deleted meanwhile."""
    insert(execution, using=using)
    wake_workers(using)


def create_claimed(execution: Execution, worker: Worker, now: datetime) -> None:
    """Save a new execution that a worker holds from the first moment.

    Raise AlreadyRunning if another one of its task runs and they may not overlap, UnknownTask if
    the task was deleted meanwhile.
    """
    using = write_alias()
    insert_and_claim(execution, worker, now, using=using)
    execution.refresh_from_db(using=using)


@transactional
def insert_and_claim(execution: Execution, worker: Worker, now: datetime, *, using: str) -> None:
    # In the same transaction as the claim, so no other worker ever sees it queued.
    insert(execution, using=using)
    chosen = choose([execution], now, limit=1, using=using).chosen
    if not chosen:
        raise AlreadyRunning(why_not_claimed(execution, using=using))
    hand_over(chosen, worker, now, using=using)


def why_not_claimed(execution: Execution, *, using: str) -> str:
    """Return the reason: an execution of the same task is running."""
    others = Execution.objects.using(using).filter(task=execution.task_id).running()
    # The first runs: later ones are those that may overlap.
    which = "".join(
        f", as execution {number} on {worker}"
        for number, worker in others.order_by("pk").values_list("pk", "worker_label")[:1]
    )
    return (
        f"The task {execution.task_name!r} is running already{which}, and its executions may not "
        "overlap: wait until it has ended, or cancel it. If its process has died, a worker takes "
        f"it back {duration(app_settings.LEASE)} later (LEASE)."
    )


def insert(execution: Execution, *, using: str) -> None:
    """Save a new execution under the lock of its task, within a transaction."""
    # A transaction that is being retried has set these.
    execution.pk, execution.exclusive = None, None
    execution.status, execution.attempt = execution.Status.QUEUED, 0
    task = execution.task
    if task is not None:
        # The state first: an edit that held it may have changed or deleted the task.
        locked = TaskState.objects.using(using).lock_tasks([task.pk])
        found = Task.objects.using(using).filter(pk=task.pk).first()
        if found is None:
            raise UnknownTask(f"The task {task.name!r} was deleted.")
        execution.task = found
        if not locked:
            found.save(using=using, now=execution.created_at)  # it was made without a clock
        else:
            execution.probation_seconds = locked[task.pk].probation_seconds
    execution.save(force_insert=True, using=using)
