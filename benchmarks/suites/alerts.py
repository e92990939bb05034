"""How long after a failure its alert is delivered.

Tasks fail at random moments of one minute. From when the alert is raised, in the transaction that
writes the failure, to when the notifier is called with it.
"""

from __future__ import annotations

import random
from functools import partial

from benchmarks.contestants.ours import Ours
from benchmarks.measure import percentile
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import START_UP, now, running
from scheduled_tasks.models import Task

#: Tasks that fail once each.
SIZE = 200
SECONDS = 60.0
WITH_PEERS = False


def cases(plan: Plan) -> list[Case]:
    """Return one worker and two, with threads."""
    return [
        Case(labels={"workers": str(workers)}, measure=partial(measure, workers, plan))
        for workers in (1, 2)
    ]


def measure(workers: int, plan: Plan) -> Figures:
    """Store tasks that fail, start workers in time and wait for all messages."""
    program = Ours("thread")
    program.environment["BENCHMARK_NOTIFIER"] = "benchmarks.tasks.told"
    program.empty()
    begin = now() + START_UP
    moments = [begin + random.random() * plan.seconds for _ in range(plan.size)]
    program.schedule(moments)
    Task.objects.update(handler="benchmarks.fail", payload={}, notify_on=["failed"])
    with running(program, workers) as its:
        told = its.wait_for(plan.size, until=max(moments))
    delays = [mark.delay * 1000 for mark in told]
    return {
        "median ms": percentile(delays, 0.5),
        "p95 ms": percentile(delays, 0.95),
        "longest ms": max(delays),
    }
