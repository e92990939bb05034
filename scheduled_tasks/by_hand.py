"""Run one execution of a task in the calling process, on record like any other."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.db import connections

from scheduled_tasks.announcements import announce_start
from scheduled_tasks.clock import Clock
from scheduled_tasks.collector import Collector
from scheduled_tasks.exceptions import UnknownHandler, UnknownTask
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.executors.leftovers import drop_open_transactions
from scheduled_tasks.heartbeat import Heartbeat
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations import get_task
from scheduled_tasks.registry import registry
from scheduled_tasks.runs import Ending, Outcome
from scheduled_tasks.sync import sync


def find_task(name: str) -> Task:
    """Return the task of that name or of that handler; one that is only in code is synced."""
    try:
        return get_task(name)
    except UnknownTask as error:
        no_such_task = str(error)
    try:
        key = registry.get(name).key
    except UnknownHandler as error:
        if name not in {declaration.name for declaration in registry.declarations}:
            raise UnknownTask(f"{no_such_task} {error}") from None
        sync()
        return get_task(name)
    tasks = Task.objects.filter(handler=key).select_related("state")
    if not tasks:
        sync()
    match list(tasks.all()[:2]):
        case [task]:
            return task
        case []:
            raise UnknownTask(f"No task uses the handler {key}: make one in the admin.")
        case _:
            names = ", ".join(tasks.values_list("name", flat=True)[:10])
            raise UnknownTask(f"Several tasks use the handler {key}: run one of {names}.")


def run_here(execution: Execution, *, now: datetime | None = None) -> Execution:
    """Run an unsaved execution to its end and return it as it is recorded.

    It is claimed from the start, so no worker takes it, and this process beats meanwhile, so that
    nobody takes it for lost: by the database's time, unless the caller says what time it is.
    """
    worker = Worker.of_this_process()
    worker.handlers = sorted(registry.handlers)
    worker.label = f"runtask {worker.label}"
    worker.save(force_insert=True)
    heartbeat = Heartbeat(worker, Clock())
    heartbeat.beat(now)
    if now is None:
        heartbeat.start()
    try:
        run_for(worker, heartbeat, execution)
    finally:
        heartbeat.stop()
        worker.move_to(Worker.State.STOPPED)
    execution.refresh_from_db()
    return execution


def run_for(worker: Worker, heartbeat: Heartbeat, execution: Execution) -> None:
    Execution.objects.begin(execution, worker, heartbeat.clock.now())
    executor = InlineExecutor(concurrency=1, clock=heartbeat.clock.now)
    inside = any(connection.in_atomic_block for connection in connections.all())
    run = execution.as_run()
    announce_start(run)
    executor.submit(run)
    if not inside:  # where the caller has no transaction, what is open or broken is the handler's
        drop_open_transactions()
        connections.close_all()
    Collector(LastAttempts(executor), worker, heartbeat.clock).collect()


class LastAttempts:
    """Hands over what an executor does, but for another attempt: who is watching decides that."""

    def __init__(self, executor: InlineExecutor) -> None:
        self.messages = executor.messages
        self.executor = executor

    def finished(self) -> list[Ending]:
        """Return the endings that have come in, none of which is followed by a retry."""
        return [
            replace(ending, retryable=False, retry_after=None)
            if isinstance(ending, Outcome)
            else ending
            for ending in self.executor.finished()
        ]
