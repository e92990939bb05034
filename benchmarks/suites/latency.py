"""How long after its moment a job begins on a worker that has nothing else to do.

*Slot*: from the moment that the schedule says. *Run now*: from the call that asks for it.
"""

from __future__ import annotations

import random
import time
from functools import partial

from benchmarks.contestants.base import Contestant
from benchmarks.contestants.ours import Ours
from benchmarks.marks import Mark
from benchmarks.measure import percentile
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import START_UP, now, running

#: Jobs, one after the other, each at a random moment of the first half of its own interval.
SIZE = 100
SECONDS = 20.0
WITH_PEERS = True


def cases(plan: Plan) -> list[Case]:
    """Return the app with both executors, and the peers, each asked in both ways."""
    return [
        Case(
            labels={"what": contestant.name, "from": since, "run in": contestant.runs_in},
            measure=partial(measure, contestant, plan),
        )
        for contestant in (Ours("thread"), Ours("process"), *plan.peers)
        for since, measure in (("slot", from_slots), ("run now", from_asking))
    ]


def from_slots(contestant: Contestant, plan: Plan) -> Figures:
    """Store jobs for random moments, then start a worker in time."""
    contestant.empty()
    begin = now() + START_UP
    interval = plan.seconds / plan.size
    moments = [begin + (number + random.random() / 2) * interval for number in range(plan.size)]
    contestant.schedule(moments)
    with running(contestant) as its:
        return figures_of(its.wait_for(plan.size, until=moments[-1]))


def from_asking(contestant: Contestant, plan: Plan) -> Figures:
    """Ask a worker that has run one job already for others, at random moments."""
    contestant.empty()
    contestant.queue(1)
    with running(contestant) as its:
        its.wait_for(1)
        for _ in range(plan.size):
            time.sleep((0.5 + random.random()) * plan.seconds / plan.size)
            contestant.run_now()
        return figures_of(its.wait_for(plan.size + 1)[1:])


def figures_of(marks: list[Mark]) -> Figures:
    delays = [mark.delay * 1000 for mark in marks]
    return {
        "median ms": percentile(delays, 0.5),
        "p95 ms": percentile(delays, 0.95),
        "longest ms": max(delays),
    }
