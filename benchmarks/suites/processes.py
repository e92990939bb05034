"""How many jobs in a second get a fresh process each, of one worker.

Beside it a plain loop on the forkserver of Python's multiprocessing, with Django and the handlers
loaded before, as many at a time, and no database.
"""

from __future__ import annotations

from functools import partial

from benchmarks.contestants.base import Program, analyze, manage
from benchmarks.contestants.ours import Ours
from benchmarks.measure import rate
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import running

#: Jobs.
SIZE = 1_000
SECONDS = 0.0
WITH_PEERS = False


class ForkLoop(Program):
    """A plain loop on a forkserver that starts ``count`` processes."""

    def __init__(self, count: int, *, at_once: int) -> None:
        super().__init__(name="plain forkserver loop", runs_in=f"{at_once} processes")
        self.count = count
        self.at_once = at_once

    def command(self) -> list[str]:
        """Return the command of the loop."""
        return manage("forkloop", str(self.count), f"--at-once={self.at_once}")

    def empty(self) -> None:
        """Do nothing: it stores nothing."""


def cases(plan: Plan) -> list[Case]:
    """Return the app and the plain loop."""
    ours = Ours("process")
    loop = ForkLoop(plan.size, at_once=ours.concurrency)
    return [
        Case(
            labels={"what": program.name, "run in": program.runs_in},
            measure=partial(run, program, plan.size),
        )
        for program in (ours, loop)
    ]


def run(program: Ours | ForkLoop, size: int) -> Figures:
    """Start it and watch its jobs."""
    program.empty()
    if isinstance(program, Ours):
        program.queue(size)
        analyze()
    with running(program) as its:
        marks = its.wait_for(size)
        return {"processes/s": rate(marks), "worker's CPU s": its.cpu, "worker's MB": its.memory_mb}
