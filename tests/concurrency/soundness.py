"""What holds of the rows of a small world, whatever operations were made on it in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from scheduled_tasks.models import Execution, Task, TaskChange, TaskState
from scheduled_tasks.runtime.statuses import UNFINISHED
from tests.concurrency.world import DUE, MINUTE, NOW, RESOLUTION, Status, World

#: What a run that ended is, unless it was cancelled.
RAN = (Status.SUCCESS, Status.PARTIAL, Status.FAILED)
#: The first slot that has not come yet, but by a clock that is ahead.
LATER = NOW + MINUTE


def unsound(world: World, *, locks: bool = True) -> list[str]:
    """Return what is wrong when all operations have come to their ends.

    Where rows cannot be locked, runs and slots are all that is looked at: a row of a deleted task
    may wait then until its claim ends it, and a run may be missing in the count of its task.
    """
    found = Execution.objects.select_related("task").prefetch_related("attempts").order_by("pk")
    rows, states = list(found), {state.pk: state for state in TaskState.objects.all()}
    complaints = two_running() + wrong_attempts(world, rows) + wrong_requeues(world, rows)
    for task in (world.alone, world.beside):
        complaints += wrong_slots(task, rows, states.get(task.pk))
        if locks:
            complaints += wrong_count(task, rows, states.get(task.pk))
    complaints += wrong_rows(world, rows)
    return complaints + (left_behind(rows) + wrong_changes(world) if locks else [])


def two_running() -> list[str]:
    """Return which tasks that may not overlap run twice, as everybody can see it at present."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT e.task_name, count(*) FROM scheduled_tasks_execution e"
            " JOIN scheduled_tasks_task t ON t.id = e.task_id"
            " WHERE e.status = 'running' AND t.overlap_policy <> 'allow'"
            " GROUP BY e.task_name HAVING count(*) > 1"
        )
        return [f"{name} runs {count} times at once" for name, count in cursor.fetchall()]


def wrong_rows(world: World, rows: Sequence[Execution]) -> list[str]:
    """Hold that a row says one thing in all its columns."""
    complaints = []
    for row in rows:
        if row.exclusive is not None and row.status != Status.RUNNING:
            complaints.append(f"{row}, {row.status}, keeps others from running")
        if row.exclusive is None and row.status == Status.RUNNING and row.task == world.alone:
            complaints.append(f"{row} runs, and keeps no other from it")
        if (row.finished_at is None) != (row.status in UNFINISHED):
            complaints.append(f"{row}, {row.status}, has ended at {row.finished_at}")
    return complaints


def left_behind(rows: Sequence[Execution]) -> list[str]:
    """Hold that nothing waits of a task that is deleted."""
    return [
        f"{row} waits for a worker, and its task is deleted"
        for row in rows
        if row.status == Status.QUEUED and row.task_id is None
    ]


def wrong_changes(world: World) -> list[str]:
    """Hold that the changes on record lead from what a task was to what it is, in their order."""
    complaints = []
    known = {name: getattr(world.alone, name) for name in ("schedule", "enabled", "paused_until")}
    deleted = False
    for change in TaskChange.objects.filter(task_name=world.alone.name).order_by("pk"):
        if deleted:
            complaints.append(f"{change.action} after it was deleted: {change.fields}")
        deleted = change.action == TaskChange.Action.DELETED
        for name in known.keys() & change.fields:
            old, new = (as_read(name, value) for value in change.fields[name])
            if old != known[name]:
                complaints.append(f"{name} was changed from {old}, and it was {known[name]}")
            known[name] = new
    now = Task.objects.filter(pk=world.alone.pk).values(*known).first()
    if now != (None if deleted else known):
        complaints.append(f"the changes lead to {known}, deleted: {deleted}; the task is {now}")
    return complaints


def as_read(name: str, value: Any) -> Any:
    """Return what a task holds where a change on record has its JSON."""
    return datetime.fromisoformat(value) if name == "paused_until" and value else value


def wrong_attempts(world: World, rows: Sequence[Execution]) -> list[str]:
    """Hold what claims returned against the attempts on record: one for each claim."""
    complaints = [
        f"execution {pk} was claimed {times} times as attempt {attempt}"
        for (pk, attempt), times in Counter(world.claims).items()
        if times > 1
    ]
    before = {row.pk: row.attempt for row in world.rows}
    for row in rows:
        expected = before.get(row.pk, 0) + sum(pk == row.pk for pk, _ in world.claims)
        if row.attempt != expected:
            complaints.append(f"{row} has attempt {row.attempt}, not {expected}")
        numbers = [made.number for made in row.attempts.all()]
        if numbers not in kept_attempts(row):
            complaints.append(f"{row}, {row.status}, has kept the attempts {numbers}")
    if missing := set(before) - {row.pk for row in rows}:
        complaints.append(f"executions {sorted(missing)} have disappeared")
    return complaints


def kept_attempts(row: Execution) -> list[list[int]]:
    """Return which attempts may be on record beside a row: all, or all but its last."""
    if row.status == Status.QUEUED:
        last = {row.attempt}
    elif row.status in (Status.RUNNING, Status.SUCCESS):
        last = {row.attempt - 1}
    else:
        last = {row.attempt - 1, row.attempt}
    return [list(range(1, number + 1)) for number in last]


def wrong_requeues(world: World, rows: Sequence[Execution]) -> list[str]:
    """Hold that what failed is queued anew or resolved once at most, and nothing else is."""
    complaints = []
    for row in rows:
        again = [new.pk for new in rows if new.requeue_of_id == row.pk]
        times = len(again) + world.resolved.count(row.pk)
        if times != (row.resolved_at is not None):
            complaints.append(f"{row} was settled {times} times, at {row.resolved_at}: {again}")
        if (row.resolution == RESOLUTION) != (row.pk in world.resolved):
            complaints.append(f"{row} says {row.resolution!r}; resolved were {world.resolved}")
    if {new.pk for new in rows if new.requeue_of_id} != {new.pk for new in world.requeued}:
        complaints.append(f"requeue returned {world.requeued}")
    return complaints


def wrong_slots(task: Task, rows: Sequence[Execution], state: TaskState | None) -> list[str]:
    """Hold that each slot that was looked at has one row, and no other has any."""
    rows = [row for row in rows if row.task_name == task.name]
    complaints = []
    coming = state.next_run_at if state else None
    for slot in [*DUE, LATER, NOW + 7 * MINUTE]:
        there = [row.pk for row in rows if covers(row, slot)]
        if len(there) not in expected_rows(slot, coming):
            complaints.append(
                f"slot {slot:%H:%M} of {task.name} has the rows {there}, its clock is at {coming}"
            )
    complaints += [
        f"{row} says that it covers {row.slots} slots"
        for row in rows
        if row.slots > 1 and row.slots != sum(covers(row, slot) for slot in [*DUE, LATER])
    ]
    return complaints


def expected_rows(slot: datetime, coming: datetime | None) -> tuple[int, ...]:
    """Return how many rows a slot may have, where its task's clock has come to a moment."""
    if coming is not None and slot >= coming:
        return (0,)
    return (1,) if slot <= NOW else (0, 1)  # whose clock was ahead saw it come, others did not


def covers(row: Execution, slot: datetime) -> bool:
    return row.slot is not None and row.slot <= slot <= (row.slot_until or row.slot)


def wrong_count(task: Task, rows: Sequence[Execution], state: TaskState | None) -> list[str]:
    """Hold that the state counts each run that ended, once."""
    # What waits and is cancelled has not run; what ran and was cancelled was asked to stop first.
    rows = [row for row in rows if row.task_name == task.name]
    ended = [row for row in rows if row.status in RAN] + [
        row for row in rows if row.status == Status.CANCELLED and row.cancel_requested_at
    ]
    if state is None or state.execution_count == len(ended):
        return []
    return [f"{task.name} counts {state.execution_count} runs; {len(ended)} have ended: {ended}"]
