"""Edit many tasks: one change to each of them, one batch per transaction.

The rules are those of ``editing``. Each step is taken for all tasks of a batch together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.changes import change_row, record_changes
from scheduled_tasks.lifecycle.covering import Fired
from scheduled_tasks.lifecycle.editing import Edit, decide_all_slots
from scheduled_tasks.lifecycle.parking import restart_clocks, unpark
from scheduled_tasks.lifecycle.stopping import withdraw_all
from scheduled_tasks.lifecycle.transitions import DISABLED
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import transactional, write_alias
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import TaskChange
from scheduled_tasks.models.task_state import UNDECLARED, TaskState

#: Sets fields of a task and returns their names, none if the task stays as it is.
Change = Callable[[Task], Collection[str]]


@dataclass(slots=True)
class Edited:
    """A task that was changed, as it was ``before`` and as it is; ``fields`` are the names given.

    ``differences`` hold the old and the new value of each column that differs.
    """

    task: Task
    state: TaskState
    before: Task
    fields: Collection[str] = ()
    differences: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def change(self, change: Change, edit: Edit) -> None:
        """Change the task in memory. Raise ScheduledTasksError if that is refused."""
        if fields := tuple(change(self.task)):
            edit.set_anchor(self.before)
            self.fields, self.differences = fields, edit.differences(self.before)
            self.task.state = self.state

    @property
    def was_disabled(self) -> bool:
        return self.before.enabled and not self.task.enabled

    @property
    def unparks(self) -> bool:
        """Whether it was parked and can run again. The sync takes back what code declares again."""
        state = self.state
        parked = state.parked_at is not None and state.parked_reason != UNDECLARED
        return parked and not self.task.problem()


@dataclass(slots=True)
class Edits:
    """What became of the tasks that exist: changed, or refused with the reason, or equal before."""

    done: list[Edited] = field(default_factory=list)
    refused: list[tuple[Task, ScheduledTasksError]] = field(default_factory=list)


def edit_tasks(
    ids: Collection[int], change: Change, now: datetime, *, by: str, using: str = ""
) -> Edits:
    """Change each of the tasks that exist; a task that refuses the change stops no other."""
    using = using or write_alias()
    everything = Edits()
    for batch in batches(ids):
        edits, fired = edit_batch(batch, change, now, by=by, using=using)
        everything.done += edits.done
        everything.refused += edits.refused
        for item in fired:
            item.log()
    return everything


@transactional
def edit_batch(
    ids: Collection[int], change: Change, now: datetime, *, by: str, using: str
) -> tuple[Edits, list[Fired]]:
    edits = lock_and_change(ids, change, now, by=by, using=using)
    fired = write_all(edits.done, now, by=by, using=using) if edits.done else []
    return edits, fired


def write_all(edits: Sequence[Edited], now: datetime, *, by: str, using: str) -> list[Fired]:
    """Write the edits and what follows from them; return what was decided of earlier slots."""
    fired = decide_earlier_slots(edits, now, using=using)
    write(edits, now, using=using)
    # A person who disables a task does not expect it to run again a second later.
    disabled = {edit.task.pk: edit.state for edit in edits if edit.was_disabled}
    withdraw_all(disabled, now, reason=DISABLED, using=using)
    action = TaskChange.Action.CHANGED
    rows = (change_row(edit.task, action, now, fields=edit.differences, by=by) for edit in edits)
    record_changes(rows, using=using)
    set_clocks(edits, now, by=by, using=using)
    wake_workers(using)
    return fired


def lock_and_change(
    ids: Collection[int], change: Change, now: datetime, *, by: str, using: str
) -> Edits:
    """Lock the states, and change the tasks in memory."""
    states = TaskState.objects.using(using).lock_tasks(ids)
    # Read under the locks: the transactions that held them may have changed or deleted tasks.
    tasks = Task.objects.using(using).filter(AnyOf("pk", list(states))).in_bulk()
    edits = Edits()
    for pk in sorted(states.keys() & tasks.keys()):
        edited = Edited(copy(tasks[pk]), states[pk], before=tasks[pk])
        try:
            edited.change(change, Edit(edited.task, now, by, using))
        except ScheduledTasksError as error:
            edits.refused.append((tasks[pk], error))
        if edited.differences:
            edits.done.append(edited)
    return edits


def decide_earlier_slots(edits: Sequence[Edited], now: datetime, *, using: str) -> list[Fired]:
    """Decide the slots that have come by the definitions that were valid until now."""
    for edit in edits:
        edit.state.task = edit.before
    fired = decide_all_slots([edit.state for edit in edits], now, using=using)
    for edit in edits:
        edit.state.task = edit.task
    return fired


def write(edits: Sequence[Edited], now: datetime, *, using: str) -> None:
    """Write the columns that differ; those of tasks with the same ones in one statement."""
    rows = defaultdict(list)
    for edit in edits:
        edit.task.updated_at = now
        values = {name: getattr(edit.task, name) for name in (*edit.differences, "updated_at")}
        rows[tuple(values)].append((values, {"id": edit.task.pk}))
    for same in rows.values():
        update_each(Task, same, using=using)


def set_clocks(edits: Sequence[Edited], now: datetime, *, by: str, using: str) -> None:
    """Restart the clocks that depend on what was changed, and unpark what can run again."""
    restarted = []
    for edit in edits:
        if edit.unparks:
            unpark(edit.state, now, using=using, by=by)
        elif not edit.differences.keys().isdisjoint(Task.CLOCK_FIELDS):
            restarted.append(edit.state)
    restart_clocks(restarted, now, using=using)
