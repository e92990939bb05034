"""What follows from an edit of a task's definition, in the transaction that writes it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Field

from scheduled_tasks.exceptions import UnknownTask
from scheduled_tasks.lifecycle.covering import Fired
from scheduled_tasks.lifecycle.transitions import DISABLED
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.task_change import TaskChange
from scheduled_tasks.models.task_state import UNDECLARED, TaskState
from scheduled_tasks.schedules import Interval

if TYPE_CHECKING:
    from scheduled_tasks.lifecycle.querysets import ExecutionQuerySet
    from scheduled_tasks.models.task import Task

Result = TypeVar("Result")

#: The columns of a task that are no part of its definition.
NOT_DEFINED = ("id", "declared", "created_at", "updated_at")


@dataclass(slots=True)
class Edit:
    """One edit of a task, made by somebody at a moment, within a transaction of a database.

    ``makes`` says whether there is no row yet, ``anchor_given`` whether whoever edits has said from
    where an interval counts. ``fired`` holds what was decided of slots that had come before.
    """

    task: Task
    now: datetime
    by: str
    using: str
    makes: bool = False
    anchor_given: bool = False
    fired: list[Fired] = field(default_factory=list)

    def save(self, write: Callable[[], None], update_fields: frozenset[str] | None) -> None:
        """Write the definition with the clock, the queue and the change that follow from it.

        Raise UnknownTask for a task that was deleted since it was read: it does not come back.
        """
        state, before = self.lock()
        if before is None and not self.makes:
            raise UnknownTask(f"The task {self.task.name!r} was deleted meanwhile.")
        if before and update_fields is not None:
            self.take_others(before, update_fields)
        self.set_anchor(before)
        differences = self.differences(before)
        if before and differences:
            self.decide_what_came_before(before, state)
        write()
        self.task.state = state or TaskState(task=self.task)
        if state is None:
            self.task.state.save(force_insert=True, using=self.using)
        if before and before.enabled and "enabled" in differences:
            self.executions.withdraw(self.task.state, self.now, reason=DISABLED)
        self.note(before, differences)
        self.set_clock(differences, made=state is None)
        wake_workers(self.using)

    def delete(self, remove: Callable[[], Result]) -> Result:
        """Delete the definition; what waits is cancelled, what runs goes on."""
        state, before = self.lock()
        if before:
            self.decide_what_came_before(before, state)
            self.executions.cancel_waiting(before.pk, self.now)
            changes = TaskChange.objects.using(self.using)
            changes.note(before, TaskChange.Action.DELETED, self.now, by=self.by)
            wake_workers(self.using)
        return remove()

    def log(self) -> None:
        """Tell the log what was decided, once that is committed."""
        for item in self.fired:
            item.log()

    @property
    def executions(self) -> ExecutionQuerySet:
        """Return all executions, in the database of the edit."""
        return self.task.executions.model.objects.using(self.using)

    def lock(self) -> tuple[TaskState | None, Task | None]:
        """Lock the state, first of all rows as in every transaction of the engine.

        Return it and the definition as it is until now, None for what there is not.
        """
        tasks = type(self.task).objects.using(self.using)
        state = TaskState.objects.using(self.using).filter(pk=self.task.pk).locked().first()
        return state, tasks.filter(pk=self.task.pk).first()

    def take_others(self, before: Task, update_fields: frozenset[str]) -> None:
        """Take over the fields that are not being saved: the task may have been read long ago."""
        for column in self.columns:
            if column.attname not in update_fields:
                setattr(self.task, column.attname, getattr(before, column.attname))

    def differences(self, before: Task | None) -> dict[str, tuple[Any, Any]]:
        """Return the fields that the edit changes, each with its old and its new value."""
        found = {}
        for column in self.columns:
            name = column.attname
            old = getattr(before, name) if before else column.get_default()
            if old != getattr(self.task, name):
                found[name] = (old if before else None, getattr(self.task, name))
        return found

    @property
    def columns(self) -> list[Field[Any, Any]]:
        """Return the columns that make up the definition."""
        columns = self.task._meta.concrete_fields  # noqa: SLF001
        return [column for column in columns if column.attname not in NOT_DEFINED]

    def decide_what_came_before(self, before: Task, state: TaskState | None) -> None:
        """Decide the slots that have come by now by the definition that held until now."""
        self.fired.clear()  # the transaction may have had to be begun anew
        if state is None:
            return
        state.task = before
        while state.next_run_at is not None and state.next_run_at <= self.now:
            self.fired += self.executions.decide_slots([state], self.now)[0]
        state.task = self.task

    def set_anchor(self, before: Task | None) -> None:
        """Give an interval that is new its phase: it counts from now.

        A row whose schedule is not being changed is not looked at, so that one that became bad
        can still be disabled.
        """
        task = self.task
        if before:
            if all(getattr(before, name) == getattr(task, name) for name in task.SLOT_FIELDS):
                return
            same_anchor = before.anchor == task.anchor and not self.anchor_given
            if before.schedule != task.schedule and same_anchor:
                task.anchor = None
        if task.anchor is None and isinstance(task.parse_schedule(), Interval):
            task.anchor = self.now.replace(microsecond=0)

    def set_clock(self, differences: Collection[str], *, made: bool) -> None:
        """Restart the clock if the next slot depends on what was changed.

        A parked task whose trouble is mended goes back into service.
        """
        state = self.task.state
        if state.parked_at and state.parked_reason != UNDECLARED and not self.task.problem():
            state.unpark(self.now, by=self.by)
        elif made or set(self.task.CLOCK_FIELDS).intersection(differences):
            state.restart(self.now)

    def note(self, before: Task | None, differences: dict[str, tuple[Any, Any]]) -> None:
        """Put the edit on record, if it changes anything."""
        action = TaskChange.Action.CHANGED if before else TaskChange.Action.CREATED
        if differences or before is None:
            changes = TaskChange.objects.using(self.using)
            changes.note(self.task, action, self.now, fields=differences, by=self.by)
