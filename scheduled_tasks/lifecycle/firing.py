"""Fire: slots that have come get an execution, or are covered by a row that says why not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Count

from scheduled_tasks.lifecycle.capacity import Places, SlotRow
from scheduled_tasks.lifecycle.covering import CoveringQuerySet, Fired
from scheduled_tasks.lifecycle.decisions import REPLACED, Decision, decide
from scheduled_tasks.lifecycle.sets import NEXT_WAITING
from scheduled_tasks.lifecycle.transitions import claimed_values
from scheduled_tasks.models.pause import SOME_PAUSE, Pause
from scheduled_tasks.models.sql.any_of import Among
from scheduled_tasks.models.sql.bulk import Values, insert_copies
from scheduled_tasks.models.sql.compiled import Prepared, Question, first_values
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.row_values import Returned
from scheduled_tasks.models.sql.transactions import LostRaceError, in_transaction
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.runs import Run

if TYPE_CHECKING:
    from scheduled_tasks.models.execution import Execution

logger = logging.getLogger(__name__)

#: As many slots of one task, or somewhat more of several, are decided at one look; others wait for
#: the next.
SLOTS_AT_ONCE = 5_000
#: Of more executions than this that are queued at once, other workers are told.
WORTH_WAKING = 50


class FiringQuerySet(CoveringQuerySet):
    """Adds the verbs that decide what becomes of slots."""

    def fire(self, now: datetime, *, limit: int) -> int:
        """Decide the due slots of up to ``limit`` tasks; return how many were decided.

        Each clock moves on from the slot that it stood at, never from ``now``. A task that cannot
        tell its slots is parked and stops no other.
        """
        fired, _ = self.fire_and_claim(None, now, limit=limit)
        return fired

    def fire_and_claim(
        self,
        places: Places | None,
        now: datetime,
        *,
        limit: int,
        before_commit: Callable[[], None] | None = None,
    ) -> tuple[int, list[Run]]:
        """Fire, and claim at once what the free places of a worker hold of it.

        Return how many slots were decided, and the attempts that were claimed: none while anything
        else waits for that worker, which may have to run before.
        """

        def operation() -> tuple[list[Fired], list[Run]]:
            states = TaskState.objects.using(using).lock_due(now, limit=limit)
            decided = self.using(using).decide_slots(states, now, places, skip=True)
            if before_commit:
                before_commit()
            return decided

        using = self.write_alias
        fired, claimed = in_transaction(operation, using=using)
        for item in fired:
            item.log()
        return sum(len(item.decision.verdicts) for item in fired), claimed

    def decide_slots(
        self,
        states: Sequence[TaskState],
        now: datetime,
        places: Places | None = None,
        *,
        skip: bool = False,
    ) -> tuple[list[Fired], list[Run]]:
        """Decide the due slots of locked states, within a transaction.

        Return what was decided, and what was claimed of it for those places. With ``skip``, tasks
        of which others hold what has to be replaced are left for the next look. Raise
        LostRaceError, so that the transaction is begun anew, if somebody else has moved one of the
        clocks, which can only be where rows cannot be locked.
        """
        if not states:
            return [], []
        pauses, others_wait = self.look_round(states, now, places)
        fired = self.replace_older(self.decisions_of(states, now, pauses), now, skip=skip)
        claimed = self.insert_taken(fired, now, None if others_wait else places)
        self.cover(fired, now)
        for item in fired:
            item.state.last_slot = item.decision.last_slot or item.state.last_slot
        moved = TaskState.objects.using(self.db).advance(
            {item.state: item.decision.next for item in fired}
        )
        if moved != len(fired):
            raise LostRaceError("Another worker fired a task meanwhile.")
        return fired, claimed

    def look_round(
        self, states: Sequence[TaskState], now: datetime, places: Places | None
    ) -> tuple[list[Pause], bool]:
        """Return the pauses that concern the due slots, and whether others wait for the places."""
        since = min(state.next_run_at or now for state in states)
        pauses = Pause.objects.using(self.db)
        asked: list[Question[Any]] = [SOME_PAUSE.about(pauses, moment=since)]
        if places:
            asked.append(NEXT_WAITING.about(self, **places.serves))
        some, *runs = first_values(*asked)
        run = self.past_held_back(runs[0], now, places) if places else None
        waits = run is not None and run <= now
        return list(pauses.ending_after(since)) if some else [], waits

    def decisions_of(
        self, states: Sequence[TaskState], now: datetime, pauses: Sequence[Pause]
    ) -> list[Fired]:
        """Decide; nothing is written but why a task is parked.

        Once SLOTS_AT_ONCE are decided, the other tasks are left for the next look: no transaction
        may take long in which the database is not asked anything. Tasks that are hardly late come
        first, so that none of them has to wait for the backlog of another.
        """
        unfinished = self.count_unfinished([s.pk for s in states if s.task.counts_unfinished])
        paused = any(pause.covers(now) for pause in pauses)
        made: list[Fired] = []
        left = SLOTS_AT_ONCE
        for state in sorted(states, key=lambda state: state.next_run_at or now, reverse=True):
            beside = unfinished.get(state.pk, 0)
            decision = decision_of(state, now, pauses, beside)
            if decision is not None:
                free = not (paused or beside or state.task.newest_slot_counts)
                made.append(Fired(state, decision, free))
                left -= len(decision.verdicts)
            if left <= 0:
                break
        return sorted(made, key=lambda item: item.state.pk)

    def count_unfinished(self, task_ids: Sequence[int]) -> dict[int, int]:
        """Return how many executions of each of these tasks are queued or running, by task id."""
        if not task_ids:
            return {}
        return dict(UNFINISHED_OF.rows(self.all(), tasks=task_ids))

    def unfinished_of(
        self, *, tasks: Collection[int]
    ) -> models.QuerySet[Execution, tuple[int, int]]:
        """Return a query for how many executions of each of these tasks have not ended."""
        counted = self.unfinished().filter(Among("task", tasks)).order_by()
        return counted.values_list("task").annotate(Count("pk"))

    def replace_older(self, fired: list[Fired], now: datetime, *, skip: bool) -> list[Fired]:
        """Cancel the other executions of slots where the policy is that the newest counts.

        With ``skip``, nothing is done about tasks of which others hold one. Return the rest.
        """
        ids = [
            item.state.pk
            for item in fired
            if item.decision.taken and item.state.task.newest_slot_counts
        ]
        if not ids:
            return fired
        older = self.unfinished().of_slots().filter(task__in=ids)
        held = older.lock_free() if skip else set()
        older.exclude(task__in=held).stop(now, reason=REPLACED)
        return [item for item in fired if item.state.pk not in held]

    def insert_taken(
        self, fired: Sequence[Fired], now: datetime, places: Places | None
    ) -> list[Run]:
        """Queue executions, or claim them at once for free places; return those.

        A slot that has an execution already keeps that one.
        """
        rows = [
            SlotRow(
                item, self.model.slot_values(item.state.task, taken.slot, trigger=taken.trigger)
            )
            for item in fired
            for taken in item.decision.taken
        ]
        begun = places.choose(rows, now) if places else []
        claimed = self.insert_claimed(begun, places.worker, now) if places and begun else []
        keys = {row.key for row in begun}
        waiting = [row.values for row in rows if row.key not in keys]
        self.insert_slots(waiting, {"created_at": now})
        if len(waiting) > WORTH_WAKING:
            wake_workers(self.db)
        return claimed

    def insert_slots(
        self, rows: Sequence[Values], shared: Values, returning: Sequence[str] = ()
    ) -> Returned:
        """Insert executions of slots that have none; return these columns where they are told."""
        return insert_copies(
            self.model._meta.get_field("task"),  # noqa: SLF001
            rows,
            copied=self.model.SNAPSHOTS,
            shared=shared,
            using=self.db,
            returning=returning,
        )

    def insert_claimed(self, rows: Sequence[SlotRow], worker: Worker, now: datetime) -> list[Run]:
        """Insert executions that a worker holds from the first moment; return their attempts.

        Raise LostRaceError, so that the transaction is begun anew, if one was left out because
        another of its task runs, which can only be where rows cannot be locked.
        """
        shared = claimed_values(worker, now) | {"created_at": now, "attempt": 1}
        values = [row.values | row.exclusive for row in rows]
        inserted = self.insert_slots(values, shared, returning=("task_id", "slot", "id"))
        of_tasks = self.filter(Among("task", {row.task.pk for row in rows}))
        if inserted is None:
            mine = of_tasks.held_by(str(worker.pk)).filter(claimed_at=now)
            inserted = list(mine.values_list("task", "slot", "pk"))
        ids = {(task, slot): pk for task, slot, pk in inserted}
        if lacking := {row.key for row in rows}.difference(ids):
            slots = {slot for _, slot in lacking}
            there = set(of_tasks.filter(slot__in=slots).values_list("task", "slot"))
            if not there.issuperset(lacking):
                raise LostRaceError("Another worker claimed an execution meanwhile.")
        return [row.as_run(ids[row.key]) for row in rows if row.key in ids]


UNFINISHED_OF = Prepared(FiringQuerySet.unfinished_of, "tasks")


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
