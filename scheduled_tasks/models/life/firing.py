"""Fire: slots that have come get an execution, or are covered by a row that says why not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Count

from scheduled_tasks.models.decisions import REPLACED, Decision, decide
from scheduled_tasks.models.life.covering import CoveringQuerySet, Fired
from scheduled_tasks.models.locking import LostRaceError, in_transaction
from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.state import TaskState

logger = logging.getLogger(__name__)

#: As many slots of one task are decided at one look; more wait for the next.
SLOTS_AT_ONCE = 5_000


class FiringQuerySet(CoveringQuerySet):
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
        self.cover(fired, now)
        for item in fired:
            item.state.last_slot = item.decision.last_slot or item.state.last_slot
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


def decision_of(
    state: TaskState, now: datetime, pauses: Sequence[Pause], unfinished: int
) -> Decision | None:
    """Decide the slots of one task that have come, None where it had to be parked instead."""
    at_most = SLOTS_AT_ONCE
    while (due := state.due_slots(now, at_most=at_most)) is not None:
        try:
            decision = decide(state.task, due, now, pauses=pauses, unfinished=unfinished)
        except Exception as error:  # one bad row must not stop the others
            logger.exception("parked task=%s", state.task.name)
            state.park(f"Its policies cannot be followed: {error}", now)
            return None
        if decision.verdicts or not due.slots:
            return decision
        at_most *= 2  # only slots that come later can decide these
    return None
