"""How many no-op jobs begin in a second with alerts off, as they are by default, and all on.

As ``throughput``, with one worker of 200 threads. *Off* has no condition; *all* has every condition
of tasks and workers, and a notifier.
"""

from __future__ import annotations

from functools import partial
from itertools import product

from benchmarks.contestants.ours import Ours
from benchmarks.suites import throughput
from benchmarks.suites.base import Case, Plan

#: Jobs.
SIZE = 5_000
SECONDS = 0.0
WITH_PEERS = False


def cases(plan: Plan) -> list[Case]:
    """Return both kinds of jobs, each with the three settings."""
    kinds = product((throughput.BY_HAND, throughput.SLOTS), ("off", "default", "all"))
    return [case(jobs, alerts, plan) for jobs, alerts in kinds]


def case(jobs: str, alerts: str, plan: Plan) -> Case:
    program = worker(alerts)
    fill = throughput.filler(program, jobs)
    return Case(
        labels={"jobs": jobs, "alerts": alerts},
        measure=partial(throughput.drain, program, fill, plan.size, 1),
    )


def worker(alerts: str) -> Ours:
    """Return a worker with these settings."""
    contestant = Ours("thread", concurrency=throughput.MANY)
    contestant.environment["BENCHMARK_ALERTS"] = alerts
    if alerts == "all":
        contestant.environment["BENCHMARK_NOTIFIER"] = "benchmarks.tasks.told"
    return contestant
