"""What it costs a run that its log is kept: many lines, beside the same code without.

Both write each line to a file as well, as a project's own logging does.
"""

from __future__ import annotations

from functools import partial

from benchmarks.contestants.base import Program, manage
from benchmarks.contestants.ours import Ours
from benchmarks.suites.base import Case, Figures, Plan
from benchmarks.workers import running
from scheduled_tasks import register_task, run_task_now

#: Lines that one run logs.
SIZE = 100_000
SECONDS = 0.0
WITH_PEERS = False


class Talk(Ours):
    """A worker that makes one run, which logs ``lines``."""

    def __init__(self, executor: str, lines: int) -> None:
        super().__init__(executor)
        self.lines = lines

    def start(self) -> None:
        """Ask for the run."""
        register_task("talk", "benchmarks.talk", payload={"lines": self.lines})
        run_task_now("talk")

    def command(self) -> list[str]:
        """Return the real command, which shows what runs log."""
        return manage("runscheduler", "--no-sync")


class PlainTalk(Program):
    """The same code in a process with nothing round it."""

    def __init__(self, lines: int) -> None:
        super().__init__(name="the same code alone", runs_in="its process")
        self.lines = lines

    def start(self) -> None:
        """Ask for nothing: it begins by itself."""

    def command(self) -> list[str]:
        """Return the command."""
        return manage("plaintalk", str(self.lines))

    def empty(self) -> None:
        """Do nothing: it stores nothing."""


def cases(plan: Plan) -> list[Case]:
    """Return both executors and the code alone."""
    programs = [Talk("process", plan.size), Talk("thread", plan.size), PlainTalk(plan.size)]
    return [
        Case(
            labels={"what": program.name, "run in": program.runs_in},
            measure=partial(run, program),
        )
        for program in programs
    ]


def run(program: Talk | PlainTalk) -> Figures:
    """Start it, and watch how long its run takes."""
    program.empty()
    with running(program) as its:
        program.start()
        [mark] = its.wait_for(1)
        return {"seconds": mark.delay}
