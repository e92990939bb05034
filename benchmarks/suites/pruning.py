"""Slots while a long history is pruned, and before, in one worker.

The history ended 91 days ago. One execution in a hundred is an unresolved failure, and
stays. All others are pruned by the worker itself, as it does once a day, with the default settings.
Ten tasks have a slot every two seconds all the time. A step is one transaction, or one query that
looks for what may go.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.utils import timezone

from benchmarks.contestants.base import manage
from benchmarks.contestants.ours import Ours, store_tasks
from benchmarks.management.commands.pruningscheduler import LAYOUT
from benchmarks.marks import Mark
from benchmarks.measure import NotMeasuredError, percentile
from benchmarks.stored_history import store_until
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import START_UP, Workers, now, running
from scheduled_tasks.models import Execution, Lock, Task
from scheduled_tasks.worker.pruning import LOCK

#: Executions.
SIZE = 100_000
#: How long the worker is watched before it prunes.
SECONDS = 30.0
WITH_PEERS = False

DAY = 86_400
#: The age of the youngest execution of the history: above the default of RETENTION_DAYS.
DAYS_AGO = 91
TASKS, INTERVAL = 10, 2
#: It is looked so often, in seconds, how far the pruning is.
LOOK = 0.5
#: Executions that a worker prunes in a second at the least; slower than this it is given up.
MIN_RATE = 50
#: A lock that is held for longer than this is that of a pass that has ended.
AFTER_THE_PASS = timedelta(hours=2)


class PruningWorker(Ours):
    """A worker that begins to prune at a known time."""

    def __init__(self, executor: str, prune_after: float) -> None:
        super().__init__(executor)
        self.prune_after = prune_after

    def command(self) -> list[str]:
        """Return the command of this package with its pruning recorded."""
        options = [f"--concurrency={self.concurrency}", f"--prune-after={self.prune_after}"]
        return manage("pruningscheduler", "--no-sync", "--verbosity=0", *options)


def cases(plan: Plan) -> list[Case]:
    """Return a worker with the default executor."""
    return [case(PruningWorker("process", START_UP + plan.seconds), measure, plan)]


def case(
    worker: PruningWorker, measure: Callable[[PruningWorker, Plan], Figures], plan: Plan
) -> Case:
    labels = {"run in": worker.runs_in, "executions": f"{plan.size:,}"}
    return Case(labels=labels, measure=partial(measure, worker, plan))


def measure(worker: PruningWorker, plan: Plan) -> Figures:
    """Store the history, start a worker and wait until it has pruned."""
    stored = store_history(plan.size)
    with recorded_steps() as steps, running(worker) as its:
        time.sleep(START_UP)
        begun = now()
        wait_for_lock(its, begun + plan.seconds + START_UP + LOOK)
        pruning_since = now()
        wait_for_the_end(its, pruning_since + START_UP + plan.size / MIN_RATE)
        return figures(its.marks, (begun, pruning_since, now()), stored - left(), read(steps))


def store_history(size: int) -> int:
    """Store the history, and tasks with slots all the time; return the number of executions."""
    store_until(now() - DAYS_AGO * DAY, size)
    store_frequent_tasks()
    return Execution.objects.count()


@contextmanager
def recorded_steps() -> Iterator[Path]:
    """Let all processes write to a file how long each step took."""
    with tempfile.NamedTemporaryFile() as file:
        os.environ["STEP_FILE"] = file.name
        yield Path(file.name)


def figures(
    marks: Sequence[Mark], moments: tuple[float, float, float], pruned: int, steps: Sequence[float]
) -> Figures:
    """Return what was found: watched since the first moment, pruned between the others."""
    begun, pruning_since, ended = moments
    return {
        "pruned": pruned,
        "pruned/s": pruned / (ended - pruning_since),
        "step p95 ms": percentile(steps, 0.95) * 1000,
        "longest step ms": max(steps) * 1000,
        **delays("before", marks, begun, pruning_since),
        **delays("meanwhile", marks, pruning_since, ended),
    }


def store_frequent_tasks() -> None:
    """Store tasks whose slots are spread evenly."""
    begin = now()
    moments = [begin + number * INTERVAL / TASKS for number in range(TASKS)]
    tasks = store_tasks((INTERVAL, moment) for moment in moments)
    Task.objects.filter(pk__in=[task.pk for task in tasks]).update(
        handler="benchmarks.mark_slot", payload={}
    )


def wait_for_lock(workers: Workers, deadline: float) -> None:
    """Wait until the worker has begun to prune."""
    while not Lock.objects.filter(name=LOCK).exists():
        check(workers, deadline)


def wait_for_the_end(workers: Workers, deadline: float) -> None:
    """Wait until the worker has pruned."""
    while not Lock.objects.filter(
        name=LOCK, expires_at__gt=timezone.now() + AFTER_THE_PASS
    ).exists():
        check(workers, deadline)


def left() -> int:
    """Return how many executions of the history are left."""
    youngest = timezone.now() - timedelta(days=DAYS_AGO - 1)
    return Execution.objects.filter(created_at__lt=youngest).count()


def check(workers: Workers, deadline: float) -> None:
    if now() > deadline:
        raise NotMeasuredError("it was not pruned in time.")
    time.sleep(LOOK)
    workers.memory_mb  # noqa: B018 -- fails if the worker has ended


def read(path: Path) -> list[float]:
    """Return how long each step took."""
    found = path.read_bytes()
    return [seconds for (seconds,) in LAYOUT.iter_unpack(found)]


def delays(when: str, marks: Sequence[Mark], since: float, until: float) -> Figures:
    """Return how late the slots of a time began."""
    found = [mark.delay * 1000 for mark in marks if since <= mark.due < until]
    return {
        f"slot p95 ms {when}": percentile(found, 0.95),
        f"longest ms {when}": max(found),
    }
