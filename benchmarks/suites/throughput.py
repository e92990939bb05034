"""How many no-op jobs begin in a second while all of them are due.

*By hand* are executions that wait in the queue; *slots* are tasks whose slot has come, which have
to be fired first. CPU and memory are those of all workers together, from their start.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product

from benchmarks.contestants.base import Contestant, analyze
from benchmarks.contestants.ours import Ours
from benchmarks.contestants.plain_loop import PlainLoop
from benchmarks.measure import cpu_seconds, database_processes, rate
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import now, running

#: Jobs.
SIZE = 5_000
SECONDS = 0.0
WITH_PEERS = True

WORKERS = (1, 2)
#: More than the default: no-op jobs are over so soon that ten places are mostly empty.
MANY = 200

BY_HAND, SLOTS = "by hand", "slots"


def cases(plan: Plan) -> list[Case]:
    """Return the app both ways, the plain loop both ways, and the peers."""
    contestants: list[tuple[Contestant, str]] = [
        (Ours("thread", concurrency=MANY), BY_HAND),
        (Ours("thread", concurrency=MANY), SLOTS),
        (Ours("thread"), SLOTS),
        (PlainLoop(apart=False), SLOTS),
        (PlainLoop(apart=True), SLOTS),
        *((peer, BY_HAND) for peer in plan.peers),
    ]
    return [
        Case(
            labels={
                "what": contestant.name,
                "jobs": jobs,
                "run in": contestant.runs_in,
                "workers": str(workers),
            },
            measure=partial(drain, contestant, filler(contestant, jobs), plan.size, workers),
        )
        for (contestant, jobs), workers in product(contestants, WORKERS)
    ]


def filler(contestant: Contestant, jobs: str) -> Callable[[int], None]:
    if jobs == BY_HAND:
        return contestant.queue
    return lambda count: contestant.schedule([now()] * count)


def drain(contestant: Contestant, fill: Callable[[int], None], size: int, workers: int) -> Figures:
    """Store jobs that are due, then start workers and watch them."""
    contestant.empty()
    fill(size)
    analyze()
    database = database_processes()
    before = cpu_seconds(database)
    with running(contestant, workers) as its:
        figures = {
            "executions/s": rate(its.wait_for(size)),
            "workers' CPU s": its.cpu,
            "workers' MB": its.memory_mb,
        }
        if database:
            figures["database's CPU s"] = cpu_seconds(database) - before
    return figures
