"""Cover: slots that get no execution share rows that say why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from scheduled_tasks.lifecycle.decisions import MISSED, Cover, Decision
from scheduled_tasks.lifecycle.stopping import StoppingQuerySet
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.task_state import TaskState

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Fired:
    """What a look decided for one task: its locked state, and what becomes of its slots.

    ``free`` says that nothing keeps an execution of the task from running now. ``new_covers`` are
    those of its covers that no row of an earlier look goes on with.
    """

    state: TaskState
    decision: Decision
    free: bool = False
    new_covers: Sequence[Cover] = ()

    def log(self) -> None:
        """Tell the log which slots get no execution, and why; once for each row."""
        for cover in self.new_covers:
            logger.log(
                logging.WARNING if cover.status == MISSED else logging.INFO,
                "%s task=%s slots=%s from=%s until=%s: %s",
                cover.status,
                self.state.task.name,
                len(cover.slots),
                cover.slots[0].isoformat(),
                cover.slots[-1].isoformat(),
                cover.reason,
            )


class CoveringQuerySet(StoppingQuerySet):
    """Adds the verb that accounts for slots without an execution."""

    def cover(self, fired: Iterable[Fired], now: datetime) -> None:
        """Cover slots that get no execution, and note which rows the next look may go on with."""
        self.go_on(fired, now)
        rows: list[Execution] = []
        last: list[tuple[TaskState, Execution]] = []
        for item in fired:
            task = item.state.task
            rows += [self.model.covering(task, cover, now=now) for cover in item.new_covers]
            if not item.decision.ends_with_cover:
                item.state.covering = None
            elif item.new_covers:
                last.append((item.state, rows[-1]))
        self.bulk_create(rows, ignore_conflicts=True)
        self.remember(last)

    def go_on(self, fired: Iterable[Fired], now: datetime) -> None:
        """Let the rows of the last look cover the first slots of this one, where they may."""
        last = (item.state.covering for item in fired if item.decision.begins_with_cover)
        ids = [pk for pk in last if pk is not None]
        # One that somebody holds, to delete old ones perhaps, is left as it is.
        rows = {row.pk: row for row in self.filter(pk__in=ids).locked(skip=True)} if ids else {}
        for item in fired:
            item.new_covers = item.decision.covers
            row = rows.get(item.state.covering or 0)
            if (
                row
                and item.decision.begins_with_cover
                and self.extend(row, item.new_covers[0], now)
            ):
                item.new_covers = item.new_covers[1:]

    def extend(self, row: Execution, cover: Cover, now: datetime) -> bool:
        """Let a row cover more slots, if it does so for the same reason; say whether it does."""
        if (row.status, row.reason) != (cover.status, cover.reason):
            return False
        values = {
            "slot_until": cover.slots[-1],
            "slots": row.slots + len(cover.slots),
            "finished_at": now,
        }
        guard = {"id": row.pk, "slot_until": row.slot_until}
        return update_each(self.model, [(values, guard)], using=self.db) == 1

    def remember(self, last: Sequence[tuple[TaskState, Execution]]) -> None:
        """Note the ids of the rows that the next look may go on with: they were given by now."""
        if not last:
            return
        slots = {(row.task_id, row.slot) for _, row in last}
        found = self.filter(
            task__in={task for task, _ in slots}, slot__in={slot for _, slot in slots}
        ).values_list("task_id", "slot", "pk")
        ids = {(task, slot): pk for task, slot, pk in found}
        for state, row in last:
            state.covering = ids.get((row.task_id, row.slot))
