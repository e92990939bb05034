"""Checks of the timeouts and memory limits that an executor cannot enforce."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Warning  # noqa: A004 -- Django's own name
from django.db import DatabaseError, InterfaceError, router, transaction

from scheduled_tasks.checks.declared_tasks import declared
from scheduled_tasks.checks.executors import default_executor
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.executors import executor_class

if TYPE_CHECKING:
    from scheduled_tasks.models import Task

#: The policies that an executor may be unable to enforce, and the one that chooses it.
LIMITS = {"executor", "timeout", "memory_limit_mb"}


def check_limits(**_: Any) -> list[CheckMessage]:
    """Check that the executor of each declared task can enforce its timeout and memory limit."""
    return [
        unenforced_limit(sentence)
        for item in declared()
        for sentence in unenforced(f"The task declared for {item.handler}", item.policies)
    ]


def check_limits_in_database(*, databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Check the same for the tasks that people have created or changed.

    This is a database check: Django runs it in ``migrate`` and in ``check --database default``.
    """
    return [
        unenforced_limit(sentence)
        for task in undeclared_limits(databases or ())
        for sentence in unenforced(
            f"The task {task}", {name: getattr(task, name) for name in LIMITS}
        )
    ]


def unenforced_limit(sentence: str) -> CheckMessage:
    return Warning(
        sentence,
        hint=(
            "Use executor='process', or the EXECUTOR setting: processes can be killed, and on "
            "Linux their memory can be limited."
        ),
        id="scheduled_tasks.W002",
    )


def unenforced(subject: str, policies: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each limit that the executor of a task cannot enforce."""
    name = policies.get("executor") or default_executor() or ""
    try:
        executor = executor_class(name)
    except InvalidSettings:
        return  # reported by E001, E006 or E008
    if policies.get("timeout") is not None and not executor.can_kill:
        yield (
            f"{subject} has a timeout, but the executor {name!r} can only ask it to stop, not "
            "kill it."
        )
    if policies.get("memory_limit_mb") is not None and not executor.can_limit_memory:
        yield f"{subject} has a memory limit, which the executor {name!r} does not enforce."


def undeclared_limits(databases: Collection[str]) -> list[Task]:
    """Return tasks with limits that people have created or edited; ``declared`` lacks them."""
    from scheduled_tasks.models import Task  # noqa: PLC0415 -- needs loaded apps

    using = router.db_for_write(Task)
    if using not in databases:
        return []
    limited = Task.objects.using(using).exclude(timeout=None, memory_limit_mb=None)
    try:
        # A query that fails would break a transaction of the caller.
        with transaction.atomic(using=using):
            return [
                task
                for task in limited
                if task.origin != Task.Origin.CODE or LIMITS.intersection(task.changed_from_code)
            ]
    except (DatabaseError, InterfaceError):
        return []  # not migrated yet, or not reachable
