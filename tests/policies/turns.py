"""The rules of docs/runs.md on runs that may have ended their worker, told a second time."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.policies.records import Ending, Execution, Task

#: The probation after the first loss, after the second, and after any other.
PROBATIONS = (30, 120, 480)
LONG_ENOUGH = timedelta(seconds=60)
#: After so long, suspects begin one at a time again.
FORGOTTEN = timedelta(seconds=PROBATIONS[-1])
NOTHING = timedelta(0)
#: Failures that say nothing about whether a run would end its worker.
DANGEROUS = ("crash", "memory", "timeout", "lost")


def longer(probation: int | None) -> int:
    return next((each for each in PROBATIONS if each > (probation or 0)), PROBATIONS[-1])


def by_losses(suspects: list[Execution]) -> list[Execution]:
    """Put suspects into the order in which they run: what was lost least comes first."""
    return sorted(suspects, key=lambda e: (e.losses, e.probation, -e.priority, e.pk))


def runs_together(execution: Execution) -> bool:
    """Say whether a suspect may run next to others: it was lost once, and may be lost again."""
    return execution.probation == PROBATIONS[0] and execution.task.on_lost != "fail"


def acquits(ending: Ending) -> bool:
    """Say whether a run has come to an end of its own."""
    if ending.kind == "failed":
        return ending.category not in DANGEROUS
    return ending.kind in ("success", "later")


def spread_suspicion(endings: Collection[tuple[Execution, Ending]]) -> list[Execution]:
    """Make suspects of tasks, or ordinary tasks again; return what waits and has changed."""
    lost: dict[Task, int] = {}
    # What is left of a deleted task comes to nothing anyway.
    endings = [(each, ending) for each, ending in endings if not each.task.deleted]
    for execution, ending in endings:
        if ending.kind == "lost" and ending.charged and execution.probation is not None:
            known = max(lost.get(execution.task, 0), execution.task.probation or 0)
            lost[execution.task] = max(known, execution.probation)
    changed = []
    for task, probation in lost.items():
        task.probation = probation
        changed += [each for each in waiting(task) if each.probation is None]
    for execution in changed:
        execution.probation = execution.task.probation
    for execution, ending in endings:
        task = execution.task
        if acquits(ending) and task.probation is not None and task not in lost:
            task.probation = None
            innocent = [each for each in waiting(task) if not each.attempt]
            for each in innocent:
                each.probation = None
            changed += innocent
    return changed


def waiting(task: Task) -> list[Execution]:
    return [execution for execution in task.alive if execution.status == "queued"]


@dataclass
class Turns:
    """Whose turn it is on one worker: that of a suspect, or of everything else."""

    suspects: list[Execution] = field(default_factory=list)
    until: datetime | None = None
    began: datetime | None = None
    awaited: int | None = None
    spent: timedelta = NOTHING
    others_until: datetime | None = None
    together: int = 1
    lost_one: bool = False
    ended: datetime | None = None

    def update(self, now: datetime) -> None:
        """Let others have the worker once the suspects have ended, or ran apart for long enough."""
        if not self.suspects or self.until is None:
            return
        if now >= self.until or not any(each.status == "running" for each in self.suspects):
            self.together = 1 if self.lost_one else 2 * len(self.suspects)
            self.lost_one = False
            for suspect in self.suspects:
                suspect.alone = False
            self.suspects = []
            self.end(now)

    def at_most(self, now: datetime) -> int:
        """Say how many suspects may run at the same time."""
        return self.together if self.ended is not None and now < self.ended + FORGOTTEN else 1

    def rule(self, now: datetime, *, empty: bool) -> str:
        """Say what a claim does about suspects: leave, alone, wait, or company."""
        if self.others_until is not None and now < self.others_until:
            return "leave"
        if empty:
            return "alone"
        if self.began is None or self.awaited is None:
            return "wait"
        return "wait" if now < self.began + timedelta(seconds=self.awaited) else "company"

    def claimed(self, suspects: list[Execution], now: datetime) -> None:
        self.suspects, self.awaited = suspects, None
        self.until = now + timedelta(seconds=suspects[0].probation or 0)
        self.began = self.began or now

    def waits_for(self, suspect: Execution, now: datetime) -> None:
        self.began, self.awaited = self.began or now, suspect.probation

    def end(self, now: datetime) -> None:
        if self.began is not None:
            self.spent += now - self.began
            self.ended = now
        if self.spent >= LONG_ENOUGH:
            self.others_until, self.spent = now + self.spent, NOTHING
        self.began = self.awaited = None
