"""The search for executions by the beginning of their task's name."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from scheduled_tasks.models import Task, TaskChange
from scheduled_tasks.models.sql.any_of import AnyOf

#: With more tasks than this, nearly every execution is found, and reading them in order is faster.
MAX_TASKS = 1_000


def named(executions: QuerySet[Any], prefix: str) -> QuerySet[Any]:
    """Keep the executions whose task had a name that begins with the prefix.

    No index has the names of all executions: each would cost every run. Their tasks have one, and
    there are few tasks.
    """
    found = executions.filter(task_name__startswith=prefix)
    tasks = tasks_once_named(prefix)
    if len(tasks) > MAX_TASKS:
        return found
    of_deleted = Q(task__isnull=True)
    return found.filter(Q(AnyOf("task", tasks)) | of_deleted if tasks else of_deleted)


def tasks_once_named(prefix: str) -> list[int]:
    """Return the ids of tasks whose name begins with the prefix, or began with it once."""
    now = Task.objects.filter(name__startswith=prefix).order_by()
    # A changed task is recorded under the name that it had then.
    once = TaskChange.objects.filter(task_name__startswith=prefix, task__isnull=False).order_by()
    found = now.values_list("pk").union(once.values_list("task_id"))
    # Django 6.1 orders a union by the ordering of its model, which it does not select.
    found = found.order_by()[: MAX_TASKS + 1]
    return [pk for (pk,) in found]
