"""The next slots of a task, and assertions about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from scheduled_tasks.models import Task
from scheduled_tasks.models.task import MICROSECOND
from scheduled_tasks.operations.tasks import find_task
from scheduled_tasks.schedules.zones import zone
from scheduled_tasks.testing.moments import Moment, moment_of, moment_or_now


def upcoming(name: str, count: int = 1, *, after: Moment | None = None) -> list[datetime]:
    """Return the next slots of a task after a moment (default: now), in UTC.

    There are fewer if the schedule ends, and none if the task is disabled, parked or has no
    schedule. Slots within a pause are left out. The name may be that of the handler. A task that is
    only declared in code is written into the database first. Raise UnknownTask.
    """
    return slots_of(find_task(name), count, moment_or_now(after))


def assert_scheduled(name: str, *moments: Moment, after: Moment | None = None) -> None:
    """Raise AssertionError unless these are the next slots of a task after a moment, in order."""
    if not moments:
        raise TypeError("assert_scheduled() needs at least one expected slot.")
    task = find_task(name)
    expected = [moment_of(moment) for moment in moments]
    found = slots_of(task, len(expected), moment_or_now(after))
    if found != expected:
        raise AssertionError(
            f"{task} is scheduled for {shown(task, found)}, not for {shown(task, expected)}."
        )


def assert_not_scheduled(name: str, *moments: Moment, after: Moment | None = None) -> None:
    """Raise AssertionError if one of these moments is a slot of a task.

    Without moments: raise it if the task has any slot after a moment (default: now).
    """
    if moments and after is not None:
        raise TypeError("assert_not_scheduled() takes either moments or after=.")
    task = find_task(name)
    if moments:
        found = [slot for slot in map(moment_of, moments) if is_slot(task, slot)]
    else:
        found = slots_of(task, 1, moment_or_now(after))
    if found:
        raise AssertionError(f"{task} is scheduled for {shown(task, found)}.")


def slots_of(task: Task, count: int, after: datetime) -> list[datetime]:
    if not task.enabled or task.state.parked_at is not None:
        return []
    if task.paused_until is not None:
        # A slot at the very end of the pause runs, and ``slots_after`` excludes its argument.
        after = max(after, task.paused_until - MICROSECOND)
    return list(islice(task.slots_after(after), count))


def is_slot(task: Task, moment: datetime) -> bool:
    return slots_of(task, 1, moment - MICROSECOND) == [moment]


def shown(task: Task, slots: Sequence[datetime]) -> str:
    """Return slots as text, in the time zone of the task."""
    own = [slot.astimezone(zone(task.timezone)) for slot in slots]
    return ", ".join(f"{slot:%Y-%m-%d %H:%M:%S %Z}" for slot in own) or "nothing"
