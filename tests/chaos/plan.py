"""Which tasks there are in chaos, and the slots that they must have, by arithmetic of our own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import Any

#: In seconds.
LEASE = 6.0
MINUTE = 60
#: Slots that are decided later than this are missed.
MISFIRE_THRESHOLD = 4
#: What lasts goes on for long after others may have given its worker up.
LASTS = 2.5 * LEASE
#: In the environment of the workers: seed, first moment and seconds of the plan.
PLAN = "CHAOS_PLAN"

OVERLAPS = ("skip", "buffer_one", "buffer_all", "cancel_other", "allow")
EXECUTORS = ("process", "thread")
MISFIRES = ("once", "skip", "all")
#: How many tasks there are for each policy of overlap and each executor.
OF_EACH_KIND = 24
INTERVALS = (8, 9, 11, 13, 17, 20, MINUTE)
#: What takes long has slots that are so far apart, in seconds, or more and more would wait. Where
#: it may overlap it does, so that the locks have something to show.
FAR_APART, TOO_CLOSE = 20, 13
LONG = ("lasting", "stubborn")
#: What is done, how often among the tasks of a kind beyond the first, and whether it takes a
#: process of its own.
HANDLERS = {
    "quick": (3, False),
    "slow": (4, False),
    "lasting": (3, False),
    "flaky": (3, False),
    "postponed": (2, False),
    "stepwise": (4, False),
    "talkative": (2, False),
    "patient": (2, False),
    "crashing": (2, True),
    "careless": (2, True),
    "stubborn": (0, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One task. ``every`` is in seconds; a minute stands for cron."""

    name: str
    handler: str
    executor: str
    overlap: str
    every: int
    starts_at: datetime
    ends_at: datetime
    misfire: str = "once"
    grace: int | None = None
    on_lost: str = "retry"
    max_losses: int = 3
    max_retries: int = 0
    jitter: int = 0
    timeout: int | None = None
    payload: dict[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> tuple[str, str]:
        """Return what runs, and where."""
        return self.handler, self.executor

    @property
    def may_overlap(self) -> bool:
        """Say whether its executions may run beside each other."""
        return self.overlap == "allow"

    @property
    def runs_every_slot(self) -> bool:
        """Say whether none of its slots may be left without an execution, however late it is."""
        return self.may_overlap and self.misfire == "all" and self.grace is None

    def slots(self) -> list[datetime]:
        """Return all slots that it has."""
        every = timedelta(seconds=self.every)
        slot = whole_minute(self.starts_at) if self.every == MINUTE else self.starts_at
        slots = []
        while slot < self.ends_at:
            slots.append(slot)
            slot += every
        return slots


def whole_minute(moment: datetime) -> datetime:
    """Return the first whole minute that is not before a moment."""
    down = moment.replace(second=0, microsecond=0)
    return down if down == moment else down + timedelta(minutes=1)


def plan(seed: int, starts_at: datetime, seconds: int) -> list[Planned]:
    """Return the tasks that follow from a seed; their slots lie in so many seconds."""
    rng = Random(seed)
    window = {"starts_at": starts_at, "ends_at": starts_at + timedelta(seconds=seconds)}
    return [
        draw(rng, number, handler=handler, overlap=overlap, executor=executor, **window)
        for overlap, executor in product(OVERLAPS, EXECUTORS)
        for number, handler in enumerate(draw_handlers(rng, executor))
    ]


def draw_handlers(rng: Random, executor: str) -> list[str]:
    """Draw the handlers of the tasks of one kind, all that are fit for the executor among them."""
    fit = {
        name: times
        for name, (times, needs_process) in HANDLERS.items()
        if executor == "process" or not needs_process
    }
    more = rng.choices(list(fit), list(fit.values()), k=OF_EACH_KIND - len(fit))
    return [*fit, *more]


def draw(rng: Random, number: int, *, handler: str, **given: Any) -> Planned:
    """Draw the rest of a task of a kind."""
    name = f"{handler}-{given['overlap']}-{given['executor']}-{number}"
    return Planned(
        name=name.replace("_", "-"),
        handler=handler,
        every=draw_distance(rng, handler, given["overlap"]),
        misfire=rng.choice(MISFIRES),
        grace=rng.choice((None, None, None, 5)),
        on_lost=rng.choice(("retry", "retry", "fail")),
        max_losses=rng.choice((1, 3)),
        max_retries=rng.choice((0, 1, 3)),
        jitter=rng.choice((0, 0, 2)),
        timeout=1 if handler == "stubborn" else None,
        payload={"seconds": round(rng.uniform(0.2, 2.0), 1)} if handler == "slow" else {},
        **given,
    )


def draw_distance(rng: Random, handler: str, overlap: str) -> int:
    """Draw how many seconds the slots of a task are apart."""
    if handler not in LONG:
        return rng.choice(INTERVALS)
    return TOO_CLOSE if overlap == "allow" else FAR_APART


def in_words(seed: int, starts_at: datetime, seconds: int) -> str:
    """Return a plan as the environment of a worker holds it."""
    return f"{seed} {starts_at.isoformat()} {seconds}"


def of_this_worker() -> Iterator[Planned]:
    """Yield the tasks that the environment names."""
    if said := os.environ.get(PLAN):
        seed, starts_at, seconds = said.split()
        yield from plan(int(seed), datetime.fromisoformat(starts_at).astimezone(UTC), int(seconds))
