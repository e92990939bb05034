"""The engine and the model of its rules, side by side: every event goes to both."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import pytest

from scheduled_tasks.exceptions import UnknownHandler
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle import firing, requeueing, stopping
from scheduled_tasks.lifecycle.ending import give_back
from scheduled_tasks.lifecycle.pausing import begin_pause, end_pauses
from scheduled_tasks.models import Execution as Row
from scheduled_tasks.models import Task as TaskRow
from scheduled_tasks.models import TaskState as StateRow
from scheduled_tasks.operations.tasks import run_task_now
from tests.policies.ledger import AttemptStore
from tests.policies.records import HANDLERS, Ending, Execution, Task
from tests.policies.rules import Rules
from tests.policies.scripted import ScriptedWorker
from tests.policies.turns import spread_suspicion

#: More due tasks than any world has.
ALL = 1_000


def register_handlers() -> None:
    """Register what the tasks here name as their handlers; no run ever gets as far."""
    for name in HANDLERS:
        registry.register(held, name=name)


def held() -> None:
    """Do nothing."""


class World:
    """One database, driven by events at given moments; each is followed by a comparison."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.ledger = AttemptStore(self.rules)
        self.workers: dict[str, ScriptedWorker] = {}
        self.hired = 0
        registry._resolved = None
        self.code = dict(registry.handlers)
        self.publish(HANDLERS)

    def publish(self, handlers: Collection[str]) -> None:
        """Let people use code with these handlers from now on."""
        self.rules.known = handlers
        self.run_code(handlers)

    def run_code(self, handlers: Collection[str]) -> None:
        """Let this process have code with these handlers only."""
        registry._resolved = {name: self.code[name] for name in handlers}

    # What people do

    def define(self, name: str, now: datetime, **fields: Any) -> Task:
        fields = {"timezone": "UTC", "handler": HANDLERS[0]} | fields
        row = TaskRow(name=name, **fields)
        row.validate()
        row.save(now=now, by="test")
        task = self.rules.define(name, now, **fields)
        self.ledger.tasks[task] = row.pk
        task.history.append(f"{now:%m-%d %H:%M:%S} defined: {task}")
        self.ledger.compare("defined", now)
        return task

    def edit(self, task: Task, now: datetime, **changes: Any) -> None:
        self.rules.edit(task, now, **changes)
        row = self.row(task)
        if changes.keys() == {"enabled"}:
            row.switch(enabled=changes["enabled"], now=now, by="test")
        else:
            for name, value in changes.items():
                setattr(row, name, value)
            row.save(now=now, by="test")
        told = ", ".join(f"{name} = {value}" for name, value in changes.items())
        task.history.append(f"{now:%m-%d %H:%M:%S} edited: {told}")
        self.ledger.compare("edited", now)

    def delete(self, task: Task, now: datetime) -> None:
        row = self.row(task)
        self.rules.delete(task, now)
        row.delete(now=now, by="test")
        self.ledger.compare("deleted", now)

    def disable_quietly(self, task: Task, now: datetime) -> None:
        TaskRow.objects.filter(pk=self.ledger.tasks[task]).update(enabled=False)
        self.rules.disable_quietly(task)
        task.history.append(f"{now:%m-%d %H:%M:%S} disabled by a bulk update")
        self.ledger.compare("disabled", now)

    def delete_quietly(self, task: Task, now: datetime) -> None:
        TaskRow.objects.filter(pk=self.ledger.tasks[task]).delete()
        self.rules.delete_quietly(task)
        self.ledger.compare("deleted in bulk", now)

    def run_now(self, task: Task, now: datetime) -> Execution | None:
        """Let a person run a task, unless the code that this person has cannot."""
        if task.handler not in self.rules.known:
            with pytest.raises(UnknownHandler):
                run_task_now(task.name, now=now)
            return None
        row = run_task_now(task.name, now=now)
        return self.known(self.rules.run_now(task, now), row, "run by hand", now)

    def requeue(self, failed: Execution, now: datetime) -> Execution | None:
        assert failed.pk is not None
        row = requeueing.requeue(failed.pk, now, by="test")
        again = self.rules.requeue(failed, now)
        if row is None or again is None:
            assert row is again, f"requeue of {failed}: {row}, by the rules {again}"
            return None
        return self.known(again, row, "requeued", now)

    def known(self, execution: Execution, row: Row, event: str, now: datetime) -> Execution:
        """Note the row of what a person asked for."""
        execution.pk = row.pk
        self.ledger.newest = max(self.ledger.newest, row.pk)
        self.ledger.compare(event, now)
        return execution

    def cancel(self, executions: Iterable[Execution], now: datetime) -> None:
        executions = list(executions)
        ids = [execution.pk for execution in executions if execution.pk is not None]
        stopping.cancel(ids, now, reason="Somebody asked for it.")
        for execution in executions:
            self.rules.cancel(execution)
        self.ledger.compare("cancelled", now)

    def pause_everything(self, now: datetime, until: datetime | None) -> None:
        begin_pause(now, until=until, by="test")
        self.rules.pause_everything(now, until)
        self.tell_all(f"{now:%m-%d %H:%M:%S} everything is paused until {until}")

    def resume(self, now: datetime) -> None:
        end_pauses(now, by="test")
        self.rules.resume(now)
        self.tell_all(f"{now:%m-%d %H:%M:%S} everything is resumed")

    # What workers do

    def hire(
        self,
        concurrency: int,
        queues: tuple[str, ...] = (),
        handlers: Collection[str] = HANDLERS,
    ) -> ScriptedWorker:
        """Let a worker begin; it has a row once it ticks."""
        self.hired += 1
        worker = ScriptedWorker(f"w{self.hired}", concurrency, queues, handlers)
        self.workers[worker.name] = worker
        self.ledger.workers[worker.name] = worker.pk
        return worker

    def held(self, worker: ScriptedWorker) -> list[Execution]:
        """Return what a worker runs."""
        return [execution for execution in self.rules.alive if execution.worker == worker.name]

    def replace(self, worker: ScriptedWorker, now: datetime, handlers: Collection[str]) -> None:
        """Stop a worker, and start another one like it that has other code."""
        self.lose(worker, now, charged=False)
        worker.stop()
        self.hire(worker.concurrency, worker.queues, handlers)

    def look(self, now: datetime, limit: int = ALL, handlers: Collection[str] = HANDLERS) -> None:
        """Let somebody look at what is due, as often as it takes to decide all of it."""
        due = StateRow.objects.due(now).handled_by(handlers)
        while due.exists():  # a task disabled in bulk decides no slot
            firing.fire_and_claim(None, now, limit=limit, handlers=handlers)
        self.rules.look(now, handlers)
        self.ledger.compare("look", now)

    def tick(
        self,
        worker: ScriptedWorker,
        now: datetime,
        endings: Iterable[tuple[Execution, Ending]] = (),
    ) -> None:
        """Let runs of a worker end, then let it end, fire and claim."""
        self.run_code(worker.handlers)
        if self.backlog(worker, now) > LARGE:
            worker.do_chores(now)
            self.rules.do_chores(worker.name, worker.handlers, now)
            self.look(now, handlers=worker.handlers)
        endings = list(endings)
        for execution, ending in endings:
            worker.deliver(execution, ending, now)
            execution.task.history.append(f"{now:%m-%d %H:%M:%S} {execution} ends: {ending}")
            self.rules.end(execution, ending, now)
        self.rules.touched += spread_suspicion(endings)
        self.rules.do_chores(worker.name, worker.handlers, now)
        self.rules.look(now, worker.handlers)
        worker.tick(now)
        self.run_code(self.rules.known)
        self.ledger.adopt()
        free = worker.concurrency - len(self.held(worker))
        self.rules.claim(now, worker.name, free, worker.queues or None)
        self.ledger.compare(f"tick of {worker.name}", now)

    def lose(self, worker: ScriptedWorker, now: datetime, *, charged: bool) -> None:
        """Let a worker be lost, or give back what it holds because it stops."""
        endings = [(each, Ending(kind="lost", charged=charged)) for each in self.held(worker)]
        for execution, ending in endings:
            self.rules.end(execution, ending, now)
        self.rules.touched += spread_suspicion(endings)
        give_back([str(worker.pk)], now, reason="It was lost.", charged=charged)
        worker.stop_scanning()
        del self.workers[worker.name]
        self.ledger.compare(f"{worker.name} lost" if charged else f"{worker.name} stops", now)

    # Helpers

    def row(self, task: Task) -> TaskRow:
        return TaskRow.objects.get(pk=self.ledger.tasks[task])

    def backlog(self, worker: ScriptedWorker, now: datetime) -> int:
        """Count the slots that a worker decides, also of tasks that it unparks before."""
        known = [task for task in self.rules.tasks.values() if task.handler in worker.handlers]
        return sum(
            len(task.since_seen(now) if task.parked else task.undecided(now)) for task in known
        )

    def coming(self, now: datetime) -> list[datetime]:
        """Return when slots, and what waits, are due after a moment, the soonest first."""
        slots = [task.next_run_at for task in self.rules.tasks.values()]
        waiting = [e.run_after for e in self.rules.alive if e.status == "queued"]
        return sorted(moment for moment in [*slots, *waiting] if moment and moment > now)

    def tell_all(self, line: str) -> None:
        for task in self.rules.tasks.values():
            task.history.append(line)


#: A backlog of all tasks together that one transaction may leave in part for the next: until all
#: is decided, what would run first may not be there yet.
LARGE = 2_000
