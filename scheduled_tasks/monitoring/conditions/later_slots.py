"""Whether a slot that did not begin in time was followed by one that did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Max

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf

#: Tasks that one query is about, and how far apart their late slots may be.
CHUNK_SIZE, MAX_APART = 1_000, timedelta(days=1)


@dataclass(frozen=True, slots=True)
class LateSlot:
    """A slot of a task that did not begin within these seconds."""

    task_id: int
    slot: datetime
    within: float


def overtaken(late: Iterable[LateSlot], *, using: str) -> set[int]:
    """Return the ids of the tasks that have a later slot that began in time."""
    by_limit: dict[float, list[LateSlot]] = defaultdict(list)
    for each in late:
        by_limit[each.within].append(each)
    found: set[int] = set()
    for within, group in by_limit.items():
        for chunk in neighbours(group):
            newest = newest_in_time(
                [each.task_id for each in chunk], after=chunk[0].slot, within=within, using=using
            )
            found |= {
                each.task_id
                for each in chunk
                if each.task_id in newest and newest[each.task_id] > each.slot
            }
    return found


def neighbours(late: Iterable[LateSlot]) -> Iterator[list[LateSlot]]:
    """Yield slots that may share a query, which then reads few slots that are not later."""
    chunk: list[LateSlot] = []
    for each in sorted(late, key=lambda each: each.slot):
        if chunk and (len(chunk) == CHUNK_SIZE or each.slot - chunk[0].slot > MAX_APART):
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


def newest_in_time(
    task_ids: Collection[int], *, after: datetime, within: float, using: str
) -> dict[int, datetime]:
    """Return the newest slot after a moment that began within these seconds, by task."""
    limit = timedelta(seconds=within)
    slots = Execution.objects.using(using).of_slots().filter(AnyOf("task", task_ids))
    slots = slots.filter(slot__gt=after).order_by()
    begun = slots.filter(attempt=1, claimed_at__lte=F("run_after") + limit)
    # A retry has moved ``run_after``; the first attempt was due at the slot, or soon after.
    retried = slots.filter(
        attempt__gt=1, attempts__number=1, attempts__claimed_at__lte=F("slot") + limit
    )
    newest: dict[int, datetime] = {}
    for rows in (begun, retried):
        for task_id, slot in rows.values_list("task").annotate(Max("slot")):
            newest[task_id] = max(slot, newest.get(task_id, slot))
    return newest
