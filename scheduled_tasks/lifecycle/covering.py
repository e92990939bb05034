"""Cover: slots that get no execution share rows that say why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduled_tasks.lifecycle import aftermath
from scheduled_tasks.lifecycle.aftermath import CoveredSlots
from scheduled_tasks.lifecycle.alerting import LateSlots
from scheduled_tasks.lifecycle.decisions import Cover, Covered, Decision, Taken, Verdict
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.bulk import update_each
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Fired:
    """What was decided for one task: its locked state, and what becomes of its slots.

    ``free`` says that nothing keeps an execution of the task from running now. ``new_covers`` are
    the covers that get a row of their own; the first one may have extended the row of an earlier
    decision instead.
    """

    state: TaskState
    decision: Decision
    free: bool = False
    new_covers: Sequence[Cover] = ()

    @property
    def late(self) -> LateSlots | None:
        """The slots that no scheduler started in time, whether they run now or not."""
        late = [verdict for verdict in self.decision.verdicts if self.is_missed(verdict)]
        if not late:
            return None
        return LateSlots(self.state.pk, tuple(verdict.slot for verdict in late), fate_of(late))

    def is_missed(self, verdict: Verdict) -> bool:
        """Whether no scheduler started a slot in time: what runs within the task's grace is."""
        within_grace = isinstance(verdict, Taken) and self.state.task.misfire_grace is not None
        return verdict.late and not within_grace

    def log(self) -> None:
        """Log which slots get no execution, and why; once for each row."""
        for cover in self.new_covers:
            logger.log(
                logging.WARNING if cover.status == Execution.Status.MISSED else logging.INFO,
                "%s task=%s slots=%s from=%s until=%s: %s",
                cover.status,
                self.state.task.name,
                len(cover.slots),
                cover.slots[0].isoformat(),
                cover.slots[-1].isoformat(),
                cover.reason,
            )


def fate_of(late: Sequence[Verdict]) -> str:
    """Return in a sentence what becomes of late slots."""
    lost = [verdict for verdict in late if isinstance(verdict, Covered)]
    taken = len(late) - len(lost)
    if not taken:
        return lost[-1].reason
    if not lost:
        return "It is run late." if taken == 1 else "They are run late."
    is_lost = "1 of them is" if len(lost) == 1 else f"{len(lost)} of them are"
    return f"{is_lost} not run, and {taken} {'is' if taken == 1 else 'are'} run late."


def cover(fired: Sequence[Fired], now: datetime, *, using: str) -> None:
    """Cover slots that get no execution, within a transaction.

    Sets ``state.covering`` to the row that the next decision may extend.
    """
    covered = extend_rows(fired, now, using=using)
    rows: list[Execution] = []
    made: list[CoveredSlots] = []
    last: list[tuple[TaskState, Execution]] = []
    for item in fired:
        task = item.state.task
        rows += [covering_row(task, cover, now=now) for cover in item.new_covers]
        made += [covered_slots(task, cover, now=now) for cover in item.new_covers]
        if not item.decision.ends_with_cover:
            item.state.covering = None
        elif item.new_covers:
            last.append((item.state, rows[-1]))
    # After an edit, a slot may come that has an execution already: it keeps that one.
    there = slots_with_rows(rows, using=using)
    Execution.objects.using(using).bulk_create(rows, ignore_conflicts=True)
    remember_rows(last, using=using)
    covered += [each for each in made if (each.task_id, each.first) not in there]
    aftermath.slots_covered(covered, using=using)


def slots_with_rows(
    rows: Sequence[Execution], *, using: str
) -> set[tuple[int | None, datetime | None]]:
    """Return the slots that have a row already, of the tasks and slots of these new rows."""
    if not rows:
        return set()
    there = Execution.objects.using(using).filter(
        task__in={row.task_id for row in rows}, slot__in={row.slot for row in rows}
    )
    return set(there.order_by().values_list("task_id", "slot"))


def extend_rows(fired: Iterable[Fired], now: datetime, *, using: str) -> list[CoveredSlots]:
    """Let earlier rows cover the first slots of this decision where the reason is the same."""
    last = (item.state.covering for item in fired if item.decision.begins_with_cover)
    ids = [pk for pk in last if pk is not None]
    earlier = Execution.objects.using(using).filter(pk__in=ids)
    # A row that another transaction holds, perhaps to delete it, is left as it is.
    rows = {row.pk: row for row in earlier.locked(skip=True)} if ids else {}
    extended = []
    for item in fired:
        item.new_covers = item.decision.covers
        row = rows.get(item.state.covering or 0)
        if row is None or not item.decision.begins_with_cover:
            continue
        first = item.new_covers[0]
        if extend_row(row, first, now, using=using):
            item.new_covers = item.new_covers[1:]
            extended.append(covered_slots(item.state.task, first, row, now=now))
    return extended


def extend_row(row: Execution, cover: Cover, now: datetime, *, using: str) -> bool:
    """Let a row cover more slots if the reason is the same; return whether it does."""
    if (row.status, row.reason) != (cover.status, cover.reason):
        return False
    values = {
        "slot_until": cover.slots[-1],
        "slots": row.slots + len(cover.slots),
        "finished_at": now,
    }
    # Where rows cannot be locked, another worker may have extended it since it was read.
    guard = {"id": row.pk, "slot_until": row.slot_until}
    return update_each(Execution, [(values, guard)], using=using) == 1


def covering_row(task: Task, cover: Cover, *, now: datetime) -> Execution:
    """Build the row that says why neighbouring slots have no execution."""
    trigger = Execution.Trigger.SCHEDULE
    row = Execution.for_task(task, trigger=trigger, now=now, slot=cover.slots[0])
    row.status, row.reason, row.finished_at = cover.status, cover.reason, now
    row.slot_until, row.slots = cover.slots[-1], len(cover.slots)
    return row


def covered_slots(
    task: Task, cover: Cover, row: Execution | None = None, *, now: datetime
) -> CoveredSlots:
    first = row.slot if row and row.slot else cover.slots[0]
    return CoveredSlots(
        task_id=task.pk,
        task_name=task.name,
        first=first,
        slots=cover.slots,
        status=cover.status,
        at=now,
        is_new=row is None,
    )


def remember_rows(last: Sequence[tuple[TaskState, Execution]], *, using: str) -> None:
    """Set the ids of the rows that the next decision may extend: the database gave them by now."""
    if not last:
        return
    # bulk_create() sets no ids where it ignores conflicts.
    slots = {(row.task_id, row.slot) for _, row in last}
    found = Execution.objects.using(using).filter(
        task__in={task for task, _ in slots},
        slot__in={slot for _, slot in slots},
        slot_until__isnull=False,
    )
    ids: dict[tuple[int | None, datetime | None], int]
    ids = {(task, slot): pk for task, slot, pk in found.values_list("task_id", "slot", "pk")}
    for state, row in last:
        state.covering = ids.get((row.task_id, row.slot))
