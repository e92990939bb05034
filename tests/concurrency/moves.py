"""The operations that are run against each other, on the rows of a small world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from scheduled_tasks import run_task_now
from scheduled_tasks.exceptions import UnknownTask
from scheduled_tasks.lifecycle import (
    claiming,
    ending,
    firing,
    reaping,
    requeueing,
    resolving,
    stopping,
)
from scheduled_tasks.lifecycle.capacity import Capacity
from scheduled_tasks.models import Execution, Task
from tests.concurrency.world import (
    BY_HAND,
    HANDLER,
    MINUTE,
    NOW,
    RESOLUTION,
    Status,
    World,
    outcome,
)

#: An operation on a world; the number says which of those in play it is.
Move = Callable[[World, int], Any]


def claim(world: World, number: int, *queues: str) -> list[Execution]:
    """Take what there is, as one of the workers."""
    worker = world.workers[number]
    claimed = claiming.claim(worker, NOW, limit=10, handlers=[HANDLER], queues=queues).rows
    world.claims += [(row.pk, row.attempt) for row in claimed]
    return claimed


def claim_by_hand(world: World, number: int) -> list[Execution]:
    """Take what there is in the queue of what was asked for: not what the others come to first."""
    return claim(world, number, BY_HAND)


def end(world: World, number: int) -> list[Execution]:
    """Write the outcomes of the worker that is given up: a success, and a failure to retry."""
    endings = [
        outcome(row.pk, row.attempt, failed=row.task == world.beside)
        for row in world.rows
        if row.status == Status.RUNNING
    ]
    return ending.end(endings, world.gone, NOW)


def fire(world: World, number: int) -> int:
    """Decide the slots that have come."""
    return firing.fire(NOW, limit=10)


def fire_and_claim(world: World, number: int) -> int:
    """Decide the slots that have come, as one of the workers, which has free capacity."""
    capacity = Capacity(world.workers[number], 10, [HANDLER])
    fired, runs = firing.fire_and_claim(capacity, NOW, limit=10)
    world.claims += [(run.execution_id, run.attempt) for run in runs]
    return fired


def fire_later(world: World, number: int) -> int:
    """Decide the slots that have come by a clock that is a minute ahead of all others."""
    return firing.fire(NOW + MINUTE, limit=10)


def fire_newest(world: World, number: int) -> int:
    """Decide the slots of a task of which only the newest counts: it cancels the others."""
    return fire(world, number)


def reap(world: World, number: int) -> int:
    """Take back what the worker holds that is gone."""
    return reaping.reap(NOW)


def cancel(world: World, number: int) -> int:
    """Cancel all that waits or runs."""
    ids = world.ids(Status.QUEUED, Status.RUNNING)
    return len(stopping.cancel(ids, NOW, reason="not wanted"))


def requeue(world: World, number: int) -> Execution | None:
    """Queue what has failed again."""
    failed = world.ids(Status.FAILED, task=world.alone)[0]
    if again := requeueing.requeue(failed, NOW, by="ann"):
        world.requeued.append(again)
    return again


def resolve(world: World, number: int) -> list[int]:
    """Settle what has failed without another run."""
    failed = world.ids(Status.FAILED, task=world.alone)
    resolved = resolving.resolve(failed, NOW, reason=RESOLUTION, by="bob")
    world.resolved += resolved
    return resolved


def run_now(world: World, number: int) -> None:
    """Ask for a run of the task that may not overlap, if it is there still."""
    with unless_deleted(world):
        run_task_now(world.alone.name, now=NOW)


def reschedule(world: World, number: int) -> None:
    """Save the task with another schedule."""
    edit(world, schedule="every 7 minutes")


def disable(world: World, number: int) -> None:
    """Save the task as disabled."""
    edit(world, enabled=False)


def pause(world: World, number: int) -> None:
    """Save the task as paused for an hour."""
    edit(world, paused_until=NOW + 60 * MINUTE)


def delete(world: World, number: int) -> None:
    """Delete the task, if it is there still."""
    if task := Task.objects.filter(pk=world.alone.pk).first():
        task.delete(now=NOW, by="ann")


def edit(world: World, **fields: Any) -> None:
    if (task := Task.objects.filter(pk=world.alone.pk).first()) is None:
        return
    for name, value in fields.items():
        setattr(task, name, value)
    with unless_deleted(world):
        task.save(now=NOW, by="ann")


@contextmanager
def unless_deleted(world: World) -> Iterator[None]:
    """Let an operation say that the task is gone, if it is."""
    try:
        yield
    except UnknownTask:
        assert not Task.objects.filter(pk=world.alone.pk).exists()
