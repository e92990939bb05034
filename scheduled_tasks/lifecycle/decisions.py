"""What becomes of slots that have come: which get an execution, and why others get none.

There is no query here. docs/policies.md explains the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.pause import Pause, paused
from scheduled_tasks.models.policies import MAX_CAUGHT_UP
from scheduled_tasks.models.task import Task
from scheduled_tasks.runtime.statuses import Status, Trigger

NEWER_CAUGHT_UP = "No scheduler was running; a later slot was run instead."
NOT_CAUGHT_UP = "No scheduler was running."
TOO_MANY = "No scheduler was running; only the latest {} slots were run."
UNFINISHED = "An earlier execution had not finished."
ENOUGH_WAIT = "Too many executions were already queued."
DECIDED_TOGETHER = "It was decided together with later slots, which were run instead."
REPLACED = "Replaced by a later slot."


@dataclass(frozen=True, slots=True)
class DueSlots:
    """The slots of one task that have come, or the first of them, and the ``next`` after them."""

    slots: list[datetime]
    next: datetime | None


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot that gets an execution, and its trigger."""

    slot: datetime
    trigger: str = Trigger.SCHEDULE

    @property
    def late(self) -> bool:
        """Whether no scheduler started it in time."""
        return self.trigger == Trigger.CATCH_UP


@dataclass(frozen=True, slots=True)
class Covered:
    """A slot that gets none, with the status and the reason of the row that covers it."""

    slot: datetime
    status: str
    reason: str

    @property
    def late(self) -> bool:
        """Whether no scheduler started it in time."""
        return self.status == Status.MISSED


Verdict = Taken | Covered


@dataclass(frozen=True, slots=True)
class Cover:
    """Neighbouring slots that get no execution for one reason."""

    slots: tuple[datetime, ...]
    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the slots of one task, in order, and where its clock moves to."""

    verdicts: list[Verdict]
    next: datetime | None

    @property
    def taken(self) -> list[Taken]:
        """The slots that get an execution."""
        return [verdict for verdict in self.verdicts if isinstance(verdict, Taken)]

    @property
    def covers(self) -> list[Cover]:
        """The slots that get none, neighbours with the same reason together."""
        return [
            Cover(tuple(verdict.slot for verdict in group), *key)
            for key, group in groupby(self.verdicts, key=why_covered)
            if key is not None
        ]

    @property
    def last_slot(self) -> datetime | None:
        """The newest slot, None for none."""
        return self.verdicts[-1].slot if self.verdicts else None

    @property
    def begins_with_cover(self) -> bool:
        """Whether the first slot is covered, so that an earlier row may be extended."""
        return bool(self.verdicts) and isinstance(self.verdicts[0], Covered)

    @property
    def ends_with_cover(self) -> bool:
        """Whether the last slot is covered, so that the next decision may extend its row."""
        return bool(self.verdicts) and isinstance(self.verdicts[-1], Covered)


def why_covered(verdict: Verdict) -> tuple[str, str] | None:
    return (verdict.status, verdict.reason) if isinstance(verdict, Covered) else None


def decide(
    task: Task, due: DueSlots, now: datetime, *, pauses: Sequence[Pause], unfinished: int
) -> Decision:
    """Decide the slots of a task that have come by ``now``.

    ``unfinished`` is the number of its queued and running executions. If more slots have come than
    ``due`` holds, those that only later ones can decide are left for the next time; that can be
    all of them.
    """
    verdicts: dict[datetime, Verdict] = {}
    misfires: list[datetime] = []
    for slot in due.slots:
        if covered := covered_alone(task, slot, now, pauses):
            verdicts[slot] = covered
        elif is_late(slot, now):
            misfires.append(slot)
        else:
            verdicts[slot] = Taken(slot)
    verdicts |= {verdict.slot: verdict for verdict in decide_misfires(task, misfires)}
    slots = due.slots
    # Which slots run depends on the newest ones. While more of them have come than are here,
    # everything from the first that might run is left for the next time.
    more = due.next is not None and due.next <= now
    kept = [slot for slot in slots if isinstance(verdicts[slot], Taken)]
    if more and kept:
        slots = slots[: slots.index(kept[0])]
    in_order = [verdicts[slot] for slot in slots]
    following = due.next if len(slots) == len(due.slots) else kept[0]
    return Decision(limit_overlap(task, in_order, unfinished), following)


def covered_alone(
    task: Task, slot: datetime, now: datetime, pauses: Sequence[Pause]
) -> Covered | None:
    """Return why a slot gets no execution, whatever happens to others; None if it may get one."""
    if task.paused_until is not None and slot < task.paused_until:
        return Covered(slot, Status.SKIPPED, paused(task.paused_until, task.pause_reason))
    for pause in pauses:
        if pause.covers(slot):
            return Covered(slot, Status.SKIPPED, str(pause))
    if task.too_late(now - slot):
        return Covered(slot, Status.MISSED, task.too_late_reason)
    return None


def is_late(slot: datetime, now: datetime) -> bool:
    # A slot that is exactly at the limit is not late.
    return now - slot > timedelta(seconds=app_settings.MISFIRE_THRESHOLD)


def decide_misfires(task: Task, slots: Sequence[datetime]) -> Iterator[Verdict]:
    """Apply the misfire policy to the slots that no scheduler handled in time."""
    match task.misfire_policy:
        case task.MisfirePolicy.ONCE:
            kept, reason = 1, NEWER_CAUGHT_UP
        case task.MisfirePolicy.SKIP:
            kept, reason = 0, NOT_CAUGHT_UP
        case task.MisfirePolicy.ALL:
            # A bulk update can write more than the validators allow.
            limit = min(task.catch_up_limit, MAX_CAUGHT_UP)
            kept, reason = limit, TOO_MANY.format(limit)
        case unknown:
            # Only a bulk update can write one. The task is parked for this error.
            raise ValueError(f"there is no misfire policy {unknown!r}")
    older = max(len(slots) - kept, 0)
    yield from (Covered(slot, Status.MISSED, reason) for slot in slots[:older])
    yield from (Taken(slot, Trigger.CATCH_UP) for slot in slots[older:])


def limit_overlap(task: Task, verdicts: Sequence[Verdict], unfinished: int) -> list[Verdict]:
    """Cover the slots that the overlap policy does not allow to run; the newest come first."""
    count = unfinished
    decided: list[Verdict] = []
    for verdict in reversed(verdicts):
        if isinstance(verdict, Covered):
            decided.append(verdict)
        elif task.newest_slot_counts and count > unfinished:
            decided.append(Covered(verdict.slot, Status.SKIPPED, REPLACED))
        elif not task.newest_slot_counts and count > room(task, verdict):
            decided.append(
                Covered(verdict.slot, Status.SKIPPED, why_no_room(task, verdict, unfinished))
            )
        else:
            count += 1
            decided.append(verdict)
    return decided[::-1]


def why_no_room(task: Task, taken: Taken, unfinished: int) -> str:
    if unfinished <= room(task, taken):
        return DECIDED_TOGETHER
    return UNFINISHED if room(task, taken) == 0 else ENOUGH_WAIT


def room(task: Task, taken: Taken) -> float:
    """Return the number of unfinished executions up to which a slot still gets one."""
    policy = task.OverlapPolicy
    to_catch_up = (
        taken.trigger == Trigger.CATCH_UP and task.misfire_policy == task.MisfirePolicy.ALL
    )
    match task.overlap_policy:
        case policy.ALLOW:
            return float("inf")
        case policy.SKIP | policy.BUFFER_ONE if to_catch_up:
            # Otherwise nearly all would be skipped, because the first of them is still waiting.
            return task.catch_up_limit
        case policy.SKIP:
            return 0
        case policy.BUFFER_ONE:
            return 1
        case policy.BUFFER_ALL:
            return task.catch_up_limit
        case unknown:
            raise ValueError(f"there is no overlap policy {unknown!r}")
