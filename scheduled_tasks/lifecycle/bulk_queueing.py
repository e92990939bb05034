"""Queue an execution of each of many tasks, one batch per transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import transactional, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState

#: Builds an unsaved execution of a task, or raises ScheduledTasksError.
Build = Callable[[Task], Execution]


@dataclass(slots=True)
class Queued:
    """The tasks of which an execution was queued, and those that were refused, with the reason."""

    tasks: list[Task] = field(default_factory=list)
    refused: list[tuple[Task, ScheduledTasksError]] = field(default_factory=list)


def queue_each(ids: Collection[int], build: Build) -> Queued:
    """Queue an execution of each of the tasks that exist."""
    using = write_alias()
    all_done = Queued()
    for batch in batches(ids):
        done = queue_batch(batch, build, using=using)
        all_done.tasks += done.tasks
        all_done.refused += done.refused
    return all_done


@transactional
def queue_batch(ids: Collection[int], build: Build, *, using: str) -> Queued:
    # The states first: an edit that holds one may change or delete the task.
    states = TaskState.objects.using(using).lock_tasks(ids)
    done = Queued()
    executions = []
    for task in Task.objects.using(using).filter(AnyOf("pk", list(states))).order_by("pk"):
        try:
            executions.append(build(task))
            done.tasks.append(task)
        except ScheduledTasksError as error:
            done.refused.append((task, error))
    Execution.objects.using(using).bulk_create(executions)
    if executions:
        wake_workers(using)
    return done
