"""The free places of a worker, into which slots may go as they are fired."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from scheduled_tasks.lifecycle.covering import Fired
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.runtime.runs import Run

if TYPE_CHECKING:
    from scheduled_tasks.models.task import Task


@dataclass(frozen=True, slots=True)
class SlotRow:
    """An execution that a slot gets: what is decided for its task, and its own columns."""

    fired: Fired
    values: dict[str, Any]

    @property
    def task(self) -> Task:
        """Return its task, as it was when its state was locked."""
        return self.fired.state.task

    @property
    def key(self) -> tuple[int, datetime]:
        """Return what no other execution has: the task's id and the slot."""
        return self.values["task_id"], self.values["slot"]

    @property
    def exclusive(self) -> dict[str, int | None]:
        """Return what keeps others of its task from running beside it, once it is claimed."""
        return {"exclusive": None if self.task.may_overlap else self.task.pk}

    def as_run(self, pk: int) -> Run:
        """Return what an executor needs to make its first attempt."""
        task = self.task
        return Run(
            execution_id=pk,
            attempt=1,
            task_name=task.name,
            handler=task.handler,
            scheduled_for=self.values["slot"],
            trigger=self.values["trigger"],
            payload=task.payload,
            **task.terms_of_runs,
            **self.fired.state.so_far,
        )

    def may_run(self, now: datetime) -> bool:
        """Say whether nothing keeps it from running now, but for the others of this look."""
        lateness = now - self.values["run_after"]
        return (
            self.fired.free and lateness.total_seconds() >= 0 and not self.task.too_late(lateness)
        )


@dataclass(frozen=True, slots=True)
class Places:
    """So many free places of a worker that knows these handlers and serves these queues."""

    worker: Worker
    count: int
    handlers: Collection[str]
    queues: Collection[str] = ()
    #: Whether what is held back has been looked at, and need not be claimed before a slot.
    past_held_back: bool = False

    @property
    def serves(self) -> dict[str, Any]:
        """Return what tells the executions that may go into them."""
        return {"handlers": list(self.handlers), "queues": tuple(self.queues)}

    def choose(self, rows: Iterable[SlotRow], now: datetime) -> list[SlotRow]:
        """Return which of these may go into the places, highest priority first."""
        chosen: list[SlotRow] = []
        taken: set[int] = set()
        for row in rows:
            task = row.task
            if row.may_run(now) and self.serve(task) and (task.may_overlap or task.pk not in taken):
                chosen.append(row)
            taken.add(task.pk)
        chosen.sort(key=lambda row: row.task.priority, reverse=True)
        return chosen[: self.count]

    def serve(self, task: Task) -> bool:
        """Say whether the worker can run the task."""
        return task.handler in self.handlers and (not self.queues or task.queue in self.queues)
