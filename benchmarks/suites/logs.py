"""What it costs a run that its log is kept: many lines, or long ones, next to the same code alone.

All write each line to a file as well, as a project's own logging does. Most lines of many are
beyond what is kept.
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
#: Long lines that one run logs for each thousand short ones, and their length in characters.
LONG_LINES, LONG_LENGTH = 1, 1_000_000
SECONDS = 0.0
WITH_PEERS = False


class Talk(Ours):
    """A worker that makes one run, which logs lines of a length."""

    def __init__(self, executor: str, lines: int, length: int) -> None:
        super().__init__(executor)
        self.payload = {"lines": lines, "length": length}

    def start(self) -> None:
        """Ask for the run."""
        register_task("talk", "benchmarks.talk", payload=self.payload)
        run_task_now("talk")

    def command(self) -> list[str]:
        """Return the real command, which shows what runs log."""
        return manage("runscheduler", "--no-sync")


class PlainTalk(Program):
    """The same code in a process with nothing round it."""

    def __init__(self, lines: int, length: int) -> None:
        super().__init__(name="the same code alone", runs_in="its process")
        self.lines, self.length = lines, length

    def start(self) -> None:
        """Ask for nothing: it begins by itself."""

    def command(self) -> list[str]:
        """Return the command."""
        return manage("plaintalk", str(self.lines), str(self.length))

    def empty(self) -> None:
        """Do nothing: it stores nothing."""


def cases(plan: Plan) -> list[Case]:
    """Return both executors and the code alone, with many lines and with long ones."""
    long_lines = max(plan.size * LONG_LINES // 1_000, 1)
    return [
        Case(
            labels={"lines": f"{lines:,}", "what": program.name, "run in": program.runs_in},
            measure=partial(run, program),
        )
        for lines, length in ((plan.size, 0), (long_lines, LONG_LENGTH))
        for program in (
            Talk("process", lines, length),
            Talk("thread", lines, length),
            PlainTalk(lines, length),
        )
    ]


def run(program: Talk | PlainTalk) -> Figures:
    """Start it, and watch how long its run takes."""
    program.empty()
    with running(program) as its:
        program.start()
        [mark] = its.wait_for(1)
        return {"seconds": mark.delay}
