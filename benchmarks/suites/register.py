"""What one `register_task` costs: of a new task, of a changed one, and of one that is as stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks.contestants.base import empty_app
from benchmarks.contestants.ours import HANDLER
from benchmarks.measure import percentile
from benchmarks.suites.base import Case, Figures, Plan
from scheduled_tasks import register_task

#: Tasks.
SIZE = 200
SECONDS = 0.0
WITH_PEERS = False

FIRST, SECOND = "0 3 * * *", "30 4 * * MON"


def cases(plan: Plan) -> list[Case]:
    """Return what a call may find."""
    return [
        Case(labels={"task": what}, measure=partial(measured, plan.size, stored, schedule))
        for what, stored, schedule in (
            ("new", None, FIRST),
            ("changed", FIRST, SECOND),
            ("as stored", FIRST, FIRST),
        )
    ]


def measured(size: int, stored: str | None, schedule: str) -> Figures:
    """Store what the calls are to find, then time each call."""
    empty_app("scheduled_tasks")
    register("warm", "@daily")
    if stored is not None:
        for number in range(size):
            register(f"task-{number}", stored)
    with CaptureQueriesContext(connection) as queries:
        register("task-0", schedule)
    cpu = time.process_time()
    took = [seconds(partial(register, f"task-{number}", schedule)) for number in range(1, size)]
    return {
        "median ms": 1_000 * percentile(took, 0.5),
        "p95 ms": 1_000 * percentile(took, 0.95),
        "CPU ms": 1_000 * (time.process_time() - cpu) / len(took),
        "statements": float(len(queries)),
    }


def register(name: str, schedule: str) -> None:
    register_task(name, HANDLER, schedule, payload={"due": 0.0})


def seconds(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
