"""Fire: slots that have come get an execution, or are covered by a row that says why not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from django.db.models import Count

from scheduled_tasks.models.decisions import MISSED, REPLACED, Cover, Decision, decide
from scheduled_tasks.models.guarded import update_each
from scheduled_tasks.models.life.stopping import StoppingQuerySet
from scheduled_tasks.models.locking import LostRaceError, in_transaction
from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.state import TaskState

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution

logger = logging.getLogger(__name__)

#: As many slots of one task are decided at one look; more wait for the next.
SLOTS_AT_ONCE = 5_000


@dataclass(slots=True)
class Fired:
    """What a look decided for one task: its locked state, and what becomes of its slots.

    ``new_covers`` are those of its covers that no row of an earlier look goes on with.
    """

    state: TaskState
    decision: Decision
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


class FiringQuerySet(StoppingQuerySet):
    """Adds the verbs that decide what becomes of slots."""

    def fire(self, now: datetime, *, limit: int) -> int:
        """Decide the due slots of up to ``limit`` tasks; return how many were decided.

        Each clock moves on from the slot that it stood at, never from ``now``. A task that cannot
        tell its slots is parked and stops no other.
        """

        def operation() -> list[Fired]:
            states = TaskState.objects.using(using).lock_due(now, limit=limit)
            return self.using(using).decide_slots(states, now)

        using = self.write_alias
        fired = in_transaction(operation, using=using)
        for item in fired:
            item.log()
        return sum(len(item.decision.verdicts) for item in fired)

    def decide_slots(self, states: Sequence[TaskState], now: datetime) -> list[Fired]:
        """Decide the due slots of locked states, within a transaction; return what was decided.

        Raise LostRaceError, so that the transaction is begun anew, if somebody else has moved one
        of the clocks, which can only be where rows cannot be locked.
        """
        if not states:
            return []
        fired = self.decisions_of(states, now)
        self.replace_older(fired, now)
        self.insert_taken(fired, now)
        self.cover_lost(fired, now)
        moved = TaskState.objects.using(self.db).advance(
            {item.state: item.decision.next for item in fired}
        )
        if moved != len(fired):
            raise LostRaceError("Another worker fired a task meanwhile.")
        return fired

    def decisions_of(self, states: Sequence[TaskState], now: datetime) -> list[Fired]:
        """Decide; nothing is written but why a task is parked."""
        since = min(state.next_run_at or now for state in states)
        pauses = list(Pause.objects.using(self.db).ending_after(since))
        counted = self.unfinished().filter(task__in=[state.pk for state in states]).order_by()
        unfinished = dict(counted.values_list("task").annotate(Count("pk")))
        decisions = (
            (state, decision_of(state, now, pauses, unfinished.get(state.pk, 0)))
            for state in states
        )
        return [Fired(state, decision) for state, decision in decisions if decision is not None]

    def replace_older(self, fired: Sequence[Fired], now: datetime) -> None:
        """Cancel the other executions of slots where the policy is that the newest counts."""
        ids = [
            item.state.pk
            for item in fired
            if item.decision.taken and item.state.task.newest_slot_counts
        ]
        if ids:
            self.unfinished().of_slots().filter(task__in=ids).stop(now, reason=REPLACED)

    def insert_taken(self, fired: Sequence[Fired], now: datetime) -> None:
        """Queue executions; a slot that has one already keeps that one."""
        rows = [
            self.model.for_slot(item.state.task, taken.slot, trigger=taken.trigger, now=now)
            for item in fired
            for taken in item.decision.taken
        ]
        self.bulk_create(rows, ignore_conflicts=True)

    def cover_lost(self, fired: Sequence[Fired], now: datetime) -> None:
        """Cover slots that get no execution, and note which rows the next look may go on with."""
        with_covers = [item for item in fired if item.decision.covers]
        open_rows = self.in_bulk(
            [item.state.covering for item in with_covers if item.state.covering is not None]
        )
        rows: list[Execution] = []
        last: list[tuple[TaskState, Execution]] = []
        for item in with_covers:
            covers = item.decision.covers
            open_row = open_rows.get(item.state.covering or 0)
            if (
                open_row
                and item.decision.begins_with_cover
                and self.extend(open_row, covers[0], now)
            ):
                covers = covers[1:]
            item.new_covers = covers
            rows += [self.model.covering(item.state.task, cover, now=now) for cover in covers]
            if covers and item.decision.ends_with_cover:
                last.append((item.state, rows[-1]))
        self.bulk_create(rows, ignore_conflicts=True)
        for item in fired:
            if item.decision.verdicts:
                item.state.last_slot = item.decision.verdicts[-1].slot
            if not item.decision.ends_with_cover:
                item.state.covering = None
        self.remember(last)

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


def decision_of(
    state: TaskState, now: datetime, pauses: Sequence[Pause], unfinished: int
) -> Decision | None:
    """Decide the slots of one task that have come, None where it had to be parked instead."""
    at_most = SLOTS_AT_ONCE
    while (due := state.due_slots(now, at_most=at_most)) is not None:
        decision = decide(state.task, due, now, pauses=pauses, unfinished=unfinished)
        if decision.verdicts or not due.slots:
            return decision
        at_most *= 2  # only slots that come later can decide these
    return None
