"""Edit: what follows when a task is saved or deleted, in the same transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from django.db.models import Field

from scheduled_tasks.exceptions import UnknownTask
from scheduled_tasks.handlers.payloads.json_values import same
from scheduled_tasks.lifecycle.changes import record_change
from scheduled_tasks.lifecycle.covering import Fired
from scheduled_tasks.lifecycle.firing import decide_slots
from scheduled_tasks.lifecycle.parking import park, restart_clock, set_next_slot, unpark
from scheduled_tasks.lifecycle.stopping import cancel_waiting, withdraw
from scheduled_tasks.lifecycle.transitions import DISABLED
from scheduled_tasks.models.pause import MAX_REASON_LENGTH
from scheduled_tasks.models.sql.compiled import CompiledQuery
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_change import TaskChange
from scheduled_tasks.models.task_state import UNDECLARED, TaskState, TaskStateQuerySet
from scheduled_tasks.runtime.sanitizing import redacted_text
from scheduled_tasks.schedules import Interval

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

#: The columns of a task that do not belong to its definition.
NOT_DEFINED = ("id", "declared", "created_at", "updated_at")


def save_task(
    task: Task,
    write: Callable[[], None],
    *,
    now: datetime,
    by: str,
    using: str,
    update_fields: Collection[str] | None,
    is_new: bool,
    anchor_given: bool,
) -> None:
    """Call ``write`` and write what follows from it, in one transaction; see ``Task.save``."""
    refuse_unstorable(by=by)
    if update_fields is None or "pause_reason" in update_fields:
        # Whoever may look reads it, with the task and with each skipped slot.
        task.pause_reason = redacted_text(task.pause_reason, limit=MAX_REASON_LENGTH)
    edit = Edit(task, now, by, using, is_new=is_new, anchor_given=anchor_given)
    fields = None if update_fields is None else frozenset(update_fields)
    in_transaction(partial(edit.save, write, fields), using=using)
    edit.log()


def delete_task(
    task: Task, remove: Callable[[], Result], *, now: datetime, by: str, using: str
) -> Result:
    """Call ``remove`` and write what follows from it, in one transaction; see ``Task.delete``."""
    refuse_unstorable(by=by)
    edit = Edit(task, now, by, using)
    removed = in_transaction(partial(edit.delete, task.pk, remove), using=using)
    edit.log()
    return removed


@dataclass(slots=True)
class Edit:
    """One edit of a task.

    ``is_new`` says that there is no row yet, ``anchor_given`` that the caller has set the start of
    an interval. ``fired`` holds what was decided of slots that had come before. ``is_over`` says
    that a new schedule has no slot to come.
    """

    task: Task
    now: datetime
    by: str
    using: str
    is_new: bool = False
    anchor_given: bool = False
    fired: list[Fired] = field(default_factory=list)
    is_over: bool = False

    def save(self, write: Callable[[], None], update_fields: frozenset[str] | None) -> None:
        """Write the definition with the clock, the queue and the record that follow from it.

        Raise UnknownTask if the task was deleted since it was read: it does not come back.
        """
        state, before = self.lock()
        if before is None and not self.is_new:
            raise UnknownTask(f"The task {self.task.name!r} was deleted meanwhile.")
        if before and update_fields is not None:
            self.copy_others(before, update_fields)
        self.set_anchor(before)
        differences = self.differences(before)
        if before and differences:
            # So it makes no difference whether a scheduler or this edit came first.
            self.decide_earlier_slots(before, state)
        write()
        if state is None:
            self.make_state(before, differences)
        else:
            self.task.state = state
            if before and before.enabled and "enabled" in differences:
                # A person who disables a task does not expect it to run again a second later.
                withdraw(state, self.now, reason=DISABLED, using=self.using)
            self.record(before, differences)
            self.set_clock(differences)
        scheduled = "schedule" in differences and self.task.schedule and self.task.enabled
        state = self.task.state
        self.is_over = bool(scheduled) and not (state.next_run_at or state.parked_at)
        # Workers sleep until what was the next slot when they looked.
        wake_workers(self.using)

    def delete(self, pk: int, remove: Callable[[], Result]) -> Result:
        """Delete the definition; queued executions are cancelled, running ones continue."""
        self.task.pk = pk  # a deletion that is being retried has cleared it
        state, before = self.lock()
        if before:
            self.decide_earlier_slots(before, state)
            cancel_waiting(before.pk, self.now, using=self.using)
            # While the task exists: the record refers to it until the deletion sets that to NULL.
            action = TaskChange.Action.DELETED
            record_change(before, action, self.now, using=self.using, by=self.by)
            wake_workers(self.using)
        return remove()

    def log(self) -> None:
        """Log what was decided, once that is committed."""
        for item in self.fired:
            item.log()
        if self.is_over:
            # Not refused: code that registers a task at each start must not fail one day later.
            logger.warning(
                "task=%s will not run by itself: %r has no slot after now",
                self.task.name,
                self.task.schedule,
            )

    def lock(self) -> tuple[TaskState | None, Task | None]:
        """Lock the state, the first row to lock in every transaction of the engine.

        Return it and the current definition, None for what does not exist.
        """
        if self.is_new and not self.task.pk:
            return None, None
        states = TaskState.objects.using(self.using)
        for state in LOCKED_STATE.rows(states, pk=self.task.pk):
            return state, state.task
        return None, Task.objects.using(self.using).filter(pk=self.task.pk).first()

    def make_state(self, before: Task | None, differences: dict[str, tuple[Any, Any]]) -> None:
        """Make the state of a task that has none: it is new, or came from a bulk_create."""
        state = self.task.state = TaskState(task=self.task)
        problem = set_next_slot(state, self.now)
        state.save(force_insert=True, using=self.using)
        self.record(before, differences)
        if problem:
            park(state, problem, self.now, using=self.using)

    def copy_others(self, before: Task, update_fields: frozenset[str]) -> None:
        """Copy the fields that are not being saved: the task may have been read long ago."""
        for column in self.columns:
            if column.attname not in update_fields:
                setattr(self.task, column.attname, getattr(before, column.attname))

    def differences(self, before: Task | None) -> dict[str, tuple[Any, Any]]:
        """Return the fields that the edit changes, each with the old and the new value."""
        found = {}
        for column in self.columns:
            name = column.attname
            old = getattr(before, name) if before else column.get_default()
            if not same(old, getattr(self.task, name)):
                found[name] = (old if before else None, getattr(self.task, name))
        return found

    @property
    def columns(self) -> list[Field[Any, Any]]:
        """The columns that make up the definition."""
        columns = self.task._meta.concrete_fields  # noqa: SLF001
        return [column for column in columns if column.attname not in NOT_DEFINED]

    def decide_earlier_slots(self, before: Task, state: TaskState | None) -> None:
        """Decide the slots that have come by the definition that was valid until now."""
        self.fired.clear()  # the transaction may be a retry
        if state is None:
            return
        state.task = before
        self.fired += decide_all_slots([state], self.now, using=self.using)
        state.task = self.task

    def set_anchor(self, before: Task | None) -> None:
        """Let a new interval count from now.

        A schedule that is not being changed is not parsed, so that a task whose row has become
        invalid can still be disabled.
        """
        task = self.task
        if before:
            if all(getattr(before, name) == getattr(task, name) for name in task.SLOT_FIELDS):
                return
            same_anchor = before.anchor == task.anchor and not self.anchor_given
            if before.schedule != task.schedule and same_anchor:
                task.anchor = None
        if task.anchor is None and isinstance(task.parse_schedule(), Interval):
            # In whole seconds, as the form of the admin shows it.
            task.anchor = self.now.replace(microsecond=0)

    def set_clock(self, differences: Collection[str]) -> None:
        """Restart the clock if the next slot depends on what was changed.

        A parked task that can run again is unparked.
        """
        state = self.task.state
        changed = set(self.task.CLOCK_FIELDS).intersection(differences)
        # A task that code no longer declares is taken back by the sync.
        if state.parked_at and state.parked_reason != UNDECLARED and not self.task.problem():
            state.resume_at = None if changed else state.resume_at
            unpark(state, self.now, using=self.using, by=self.by)
        elif changed:
            restart_clock(state, self.now, using=self.using)

    def record(self, before: Task | None, differences: dict[str, tuple[Any, Any]]) -> None:
        """Record the edit if it changes anything."""
        action = TaskChange.Action.CHANGED if before else TaskChange.Action.CREATED
        if differences or before is None:
            record_change(
                self.task, action, self.now, using=self.using, fields=differences, by=self.by
            )


def decide_all_slots(states: Sequence[TaskState], now: datetime, *, using: str) -> list[Fired]:
    """Decide all slots of locked states that have come, within a transaction."""
    fired: list[Fired] = []
    # One call decides a limited number of slots, and an edit leaves none to the new definition:
    # it also waits for executions that have to be replaced.
    while due := [state for state in states if state.next_run_at and state.next_run_at <= now]:
        fired += decide_slots(due, now, using=using, skip=False)[0]
    return fired


def locked_state(everything: TaskStateQuerySet, *, pk: int) -> TaskStateQuerySet:
    """Return a query that locks and reads the state of a task, and the task."""
    # Both: a row that is joined, but not locked, would be read as it was before the wait.
    return everything.select_related("task").filter(pk=pk).locked(also=("task",))


LOCKED_STATE = CompiledQuery(locked_state, "pk")
