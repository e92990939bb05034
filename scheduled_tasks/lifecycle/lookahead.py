"""When the next slot comes, and when the next execution may be claimed."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import models

from scheduled_tasks.lifecycle.capacity import Capacity
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_queries import ExecutionQuerySet
from scheduled_tasks.models.sql.compiled import CompiledQuery, first_values
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet


def next_work_times(capacity: Capacity) -> tuple[datetime | None, datetime | None]:
    """Return when the next slot comes, and when a worker may claim the next execution.

    None stands for never.
    """
    using = write_alias()
    # To look at handlers takes the database longer to plan, so it is only done where it matters.
    known = {"handlers": list(capacity.handlers)} if capacity.past_unknown else {}
    return first_values(
        NEXT_DUE.bind(TaskState.objects.using(using), **known),
        NEXT_WAITING.bind(Execution.objects.using(using), **capacity.serves),
    )


def past_held_back(
    run: datetime | None, now: datetime, capacity: Capacity, *, using: str = ""
) -> datetime | None:
    """Return when the next execution may be claimed: ``run``, unless that one is held back.

    The query for this costs more, so it is made only after a claim has seen that all due executions
    are held back.
    """
    if run is None or run > now or not capacity.past_held_back:
        return run
    everything = Execution.objects.using(using or write_alias())
    past = {"free_at": now, "past_suspects": capacity.past_suspects}
    return NEXT_WAITING.bind(everything, **capacity.serves, **past).first


def next_due(
    everything: TaskStateQuerySet, *, handlers: Collection[str] | None = None
) -> models.QuerySet[TaskState, datetime | None]:
    """Return a query for the earliest coming slot, perhaps only of tasks of these handlers."""
    coming = everything.filter(next_run_at__isnull=False)
    coming = coming if handlers is None else coming.handled_by(handlers)
    return coming.order_by("next_run_at").values_list("next_run_at", flat=True)[:1]


def next_waiting(
    everything: ExecutionQuerySet,
    *,
    handlers: Collection[str],
    queues: Collection[str],
    free_at: datetime | None = None,
    past_suspects: bool = False,
) -> models.QuerySet[Execution, datetime]:
    """Return a query for when a worker may claim the first execution.

    With ``free_at``, leave out what is held back at that moment, and with ``past_suspects`` what
    only the worker itself knows when to claim.
    """
    free = everything.waiting_for(handlers=handlers, queues=queues)
    if free_at is not None:
        free = free.not_held_back(free_at)
    if past_suspects:
        free = free.filter(probation_seconds=None)
    return free.order_by("run_after").values_list("run_after", flat=True)[:1]


NEXT_DUE = CompiledQuery(next_due, "handlers")
NEXT_WAITING = CompiledQuery(next_waiting, "handlers", "free_at")
