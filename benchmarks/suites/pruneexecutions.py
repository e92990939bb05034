"""Slots while ``pruneexecutions`` prunes a long history, and before.

As ``pruning``, but the command prunes, next to a worker: without rests, as fast as it can.
"""

from __future__ import annotations

import os
import subprocess
import time

from django.db import connection

from benchmarks.contestants.base import manage
from benchmarks.measure import NotMeasuredError
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.suites.pruning import (
    MIN_RATE,
    PruningWorker,
    case,
    figures,
    left,
    read,
    recorded_steps,
    store_history,
)
from benchmarks.workers import START_UP, now, running

#: Executions.
SIZE = 100_000
#: How long the worker is watched before the command begins.
SECONDS = 30.0
WITH_PEERS = False

#: In seconds: the worker leaves the pruning to the command.
NEVER = 1e9


def cases(plan: Plan) -> list[Case]:
    """Return a worker with the default executor."""
    return [case(PruningWorker("process", NEVER), measure, plan)]


def measure(worker: PruningWorker, plan: Plan) -> Figures:
    """Store the history, start a worker and let the command prune."""
    stored = store_history(plan.size)
    with recorded_steps() as steps, running(worker) as its:
        time.sleep(START_UP)
        begun = now()
        time.sleep(plan.seconds)
        pruning_since = now()
        prune(START_UP + plan.size / MIN_RATE)
        return figures(its.marks, (begun, pruning_since, now()), stored - left(), read(steps))


def prune(seconds: float) -> None:
    """Run the command, and give it up after so many seconds."""
    environment = {**os.environ, "BENCHMARK_DATABASE": str(connection.settings_dict["NAME"])}
    try:
        subprocess.run(manage("recordedprune"), env=environment, check=True, timeout=seconds)
    except subprocess.SubprocessError as error:
        raise NotMeasuredError(str(error)) from error
