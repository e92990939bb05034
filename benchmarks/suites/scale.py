"""What one worker costs with many stored tasks, of which 1 % is due each minute.

*Start-up* is the time from the start of the process to the first job, which is due by then. After
that one worker is watched: how many of the jobs due began, its CPU as a share of one core, and its
memory at the beginning and at the most.
"""

from __future__ import annotations

import random
import time
from functools import partial

from benchmarks.contestants.base import analyze
from benchmarks.contestants.ours import Ours
from benchmarks.contestants.plain_loop import PlainLoop
from benchmarks.measure import cpu_seconds, database_processes
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import Workers, now, running

#: Tasks.
SIZE = 100_000
SECONDS = 60.0
WITH_PEERS = False

DAY, MINUTE = 86_400, 60
#: Let the worker settle for so many seconds after its first job.
SETTLING = 5.0
#: Of so many tasks one is due each minute.
ONE_OF = 100


def cases(plan: Plan) -> list[Case]:
    """Return the app and the plain loop."""
    return [
        Case(
            labels={"what": contestant.name, "run in": contestant.runs_in},
            measure=partial(watch, contestant, plan),
        )
        for contestant in (Ours("thread"), PlainLoop(apart=False))
    ]


def watch(contestant: Ours | PlainLoop, plan: Plan) -> Figures:
    """Store the tasks, start a worker and watch it."""
    contestant.empty()
    frequent = plan.size // ONE_OF
    contestant.store(DAY, [now() + DAY / 2] * (plan.size - frequent))
    contestant.store(MINUTE, [now() + random.random() * MINUTE for _ in range(frequent)])
    contestant.schedule([now()])
    analyze()
    with running(contestant) as its:
        start_up = its.wait_for(1)[0].begun - its.started_at
        time.sleep(SETTLING)
        watched = watch_steady(its, plan.seconds)
    expected = frequent * plan.seconds / MINUTE
    return {
        "start-up s": start_up,
        "begun, of expected %": watched.pop("begun") / expected * 100,
        **watched,
    }


def watch_steady(workers: Workers, seconds: float) -> Figures:
    """Watch workers for a while; say besides how many jobs have ``begun``."""
    database = database_processes()
    begin, marks, memory = now(), len(workers.marks), [workers.memory_mb]
    cpu, cpu_of_database = workers.cpu, cpu_seconds(database)
    while (left := begin + seconds - now()) > 0:
        time.sleep(min(left, 1))
        memory.append(workers.memory_mb)
    took = now() - begin
    figures = {
        "begun": float(len(workers.marks) - marks),
        "worker's CPU %": (workers.cpu - cpu) / took * 100,
        "worker's MB": memory[0],
        "at most MB": max(memory),
    }
    if database:
        figures["database's CPU %"] = (cpu_seconds(database) - cpu_of_database) / took * 100
    return figures
