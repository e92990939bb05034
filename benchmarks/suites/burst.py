"""How late jobs begin when very many tasks are due at the same moment.

Two workers, which have nothing to do before.
"""

from __future__ import annotations

from functools import partial

from benchmarks.contestants.base import Contestant, analyze
from benchmarks.contestants.ours import Ours
from benchmarks.contestants.plain_loop import PlainLoop
from benchmarks.measure import percentile
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.suites.throughput import MANY
from benchmarks.workers import START_UP, now, running

#: Tasks.
SIZE = 5_000
SECONDS = 0.0
WITH_PEERS = True

WORKERS = 2
#: As many tasks as the slowest contestant can store in a second.
STORED_IN_A_SECOND = 400


def cases(plan: Plan) -> list[Case]:
    """Return the app, the plain loop and the peers."""
    return [
        Case(
            labels={
                "what": contestant.name,
                "run in": contestant.runs_in,
                "workers": str(WORKERS),
            },
            measure=partial(burst, contestant, plan.size),
        )
        for contestant in (
            Ours("thread", concurrency=MANY),
            Ours("thread"),
            PlainLoop(apart=False),
            *plan.peers,
        )
    ]


def burst(contestant: Contestant, size: int) -> Figures:
    """Store the tasks, start the workers in time, and watch."""
    contestant.empty()
    moment = now() + size / STORED_IN_A_SECOND + START_UP
    contestant.schedule([moment] * size)
    analyze()
    with running(contestant, WORKERS) as its:
        delays = [mark.delay for mark in its.wait_for(size, until=moment)]
    return {
        "first s": min(delays),
        "median s": percentile(delays, 0.5),
        "last s": max(delays),
    }
