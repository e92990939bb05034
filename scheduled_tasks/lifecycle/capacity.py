"""How many executions a worker can still run, and which slots may start as they are fired."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from scheduled_tasks.lifecycle.covering import Fired
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.runs import Run


@dataclass(frozen=True, slots=True)
class SlotRow:
    """An execution that a slot gets: what was decided for its task, and its own columns."""

    fired: Fired
    values: dict[str, Any]

    @property
    def task(self) -> Task:
        """Its task, as it was when the state was locked."""
        return self.fired.state.task

    @property
    def key(self) -> tuple[int, datetime]:
        """The task's id and the slot: what is unique."""
        return self.values["task_id"], self.values["slot"]

    @property
    def claimed(self) -> dict[str, Any]:
        """The columns that differ from row to row, once it is claimed."""
        exclusive = None if self.task.may_overlap else self.task.pk
        return {"exclusive": exclusive, "begin_awaited": self.task.started_once}

    def as_run(self, pk: int) -> Run:
        """Return what an executor needs to make its first attempt."""
        task = self.task
        return Run(
            execution_id=pk,
            attempt=1,
            begin_awaited=task.started_once,
            task_name=task.name,
            handler=task.handler,
            scheduled_for=self.values["slot"],
            trigger=self.values["trigger"],
            payload=task.payload,
            **task.run_options,
            **self.fired.state.run_history,
        )

    @property
    def is_suspect(self) -> bool:
        """Whether it may end its worker, as a run of its task may have done before."""
        return self.values["probation_seconds"] is not None

    def is_due(self, now: datetime) -> bool:
        """Whether it has come, and is not too late to run."""
        lateness = now - self.values["run_after"]
        return lateness.total_seconds() >= 0 and not self.task.too_late(lateness)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The number of executions that a worker can still run, and which ones it serves.

    ``queues`` is empty where it serves every queue.
    """

    worker: Worker
    count: int
    handlers: Collection[str]
    queues: Collection[str] = ()
    #: Whether a claim has just seen that all that is due is held back, so that a slot overtakes
    #: nothing.
    past_held_back: bool = False
    #: Whether firing has just seen slots that it leaves to workers that know their handlers.
    past_unknown: bool = False
    #: Whether suspects are due that the worker may not claim yet.
    past_suspects: bool = False

    @property
    def serves(self) -> dict[str, Any]:
        """Return the filter of the executions that the worker may claim."""
        return {"handlers": list(self.handlers), "queues": tuple(self.queues)}

    def choose(self, rows: Iterable[SlotRow], now: datetime) -> list[SlotRow]:
        """Return which of these the worker runs at once, highest priority first.

        A slot that only a claim can start takes a place, too: none of a lower priority overtakes
        it. After a suspect, a claim decides who is next.
        """
        due: list[SlotRow] = []
        taken: set[int] = set()
        for row in rows:
            task = row.task
            alone = task.may_overlap or task.pk not in taken
            if alone and row.is_due(now) and self.can_run(task):
                due.append(row)
            taken.add(task.pk)
        due.sort(key=lambda row: row.task.priority, reverse=True)
        before_suspects = takewhile(lambda row: not row.is_suspect, due[: self.count])
        return [row for row in before_suspects if row.fired.free]

    def can_run(self, task: Task) -> bool:
        """Whether the worker runs the task's handler and queue."""
        return task.handler in self.handlers and (not self.queues or task.queue in self.queues)
