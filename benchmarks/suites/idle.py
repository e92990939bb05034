"""What one worker costs that has nothing to do. CPU is a share of one core."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.contestants.base import Contestant
from benchmarks.contestants.ours import Ours
from benchmarks.contestants.plain_loop import PlainLoop
from benchmarks.measure import asked_up_to_now, cpu_seconds, database_processes
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import START_UP, now, running

#: Nothing is stored.
SIZE = 0
SECONDS = 30.0
WITH_PEERS = True


def cases(plan: Plan) -> list[Case]:
    """Return the app with both executors, the plain loop and the peers."""
    return [
        Case(
            labels={"what": contestant.name, "run in": contestant.runs_in},
            measure=partial(watch, contestant, plan.seconds),
        )
        for contestant in (
            Ours("thread"),
            Ours("process"),
            PlainLoop(apart=False),
            *plan.peers,
        )
    ]


def watch(contestant: Contestant, seconds: float) -> Figures:
    """Start a worker, let it settle, and watch it."""
    contestant.empty()
    with running(contestant) as its:
        time.sleep(START_UP)
        database = database_processes()
        begin, cpu, cpu_of_database = now(), its.cpu, cpu_seconds(database)
        asked = asked_up_to_now()
        time.sleep(seconds)
        took = now() - begin
        figures = {
            "worker's CPU %": (its.cpu - cpu) / took * 100,
            "worker's MB": its.memory_mb,
        }
        if database:
            figures["database's CPU %"] = (cpu_seconds(database) - cpu_of_database) / took * 100
        for counted, count in asked_up_to_now().items():
            figures[counted] = (count - asked[counted]) / took
    return figures
