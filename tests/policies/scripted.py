"""Workers of the real engine whose runs end when, and how, a script says so."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import ClassVar

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.models import Worker as WorkerRow
from scheduled_tasks.runtime.runs import Ending as RealEnding
from scheduled_tasks.runtime.runs import Loss, Outcome, Run
from scheduled_tasks.worker.scheduler import Scheduler
from tests.policies.records import HANDLERS, Ending, Execution

STATUSES = {"later": "failed"}


class ScriptedExecutor(Executor):
    """Holds what it is given until the script delivers an ending."""

    can_kill: ClassVar[bool] = True
    can_limit_memory: ClassVar[bool] = True

    def begin(self, run: Run) -> None:
        """Hold it: it is in hand."""

    def cancel(self, execution_id: int, attempt: int, reason: str) -> None:
        """Ask a run to stop; the script says what it does."""


class FixedClock:
    """Shows what it was set to, and does not move on."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment

    def set(self, moment: datetime) -> None:
        self.moment = moment


class ScriptedWorker:
    """A scheduler with an executor, clock and fate in the hands of the script."""

    def __init__(
        self,
        name: str,
        concurrency: int,
        queues: tuple[str, ...] = (),
        handlers: Collection[str] = HANDLERS,
    ) -> None:
        self.name, self.concurrency, self.queues = name, concurrency, queues
        self.handlers = handlers
        self.scheduler = Scheduler(
            worker_name=name,
            concurrency=concurrency,
            queues=queues,
            executor=ScriptedExecutor,
            syncs=False,
            monotonic=lambda: 0.0,
        )

    @property
    def pk(self) -> str:
        return str(self.scheduler.engine.worker.pk)

    def do_chores(self, now: datetime) -> None:
        """Do what a tick does before it fires; the next tick does not do it again."""
        engine = self.scheduler.engine
        if engine.registered:
            engine.heartbeat.beat(now)
            engine.maintenance.run_due(now)
        else:
            engine.start(now)

    def stop_scanning(self) -> None:
        """Let another worker scan, as if the lock had expired: the wall clock hardly moves."""
        self.scheduler.engine.monitor.scanner.lock.release()

    def stop(self) -> None:
        """Sign off, as a worker does when it has given back what it held."""
        if self.scheduler.engine.registered:
            self.scheduler.engine.worker.move_to(WorkerRow.State.STOPPED)

    def tick(self, now: datetime) -> None:
        self.scheduler.engine.result_writer.clock = FixedClock(now)
        self.scheduler.tick(now)

    def deliver(self, execution: Execution, ending: Ending, now: datetime) -> None:
        """Let the attempt of an execution end; the next tick writes it."""
        executor = self.scheduler.engine.executor.opened(ScriptedExecutor)
        executor.deliver(real(execution, ending, now))


def real(execution: Execution, ending: Ending, now: datetime) -> RealEnding:
    """Return what an executor would deliver."""
    assert execution.pk is not None
    if ending.kind == "lost":
        return Loss(
            execution_id=execution.pk,
            attempt=execution.attempt,
            reason="It was lost.",
            charged=ending.charged,
        )
    return Outcome(
        execution_id=execution.pk,
        attempt=execution.attempt,
        status=STATUSES.get(ending.kind, ending.kind),
        started_at=now,
        finished_at=now,
        duration_ms=0,
        error_category=ending.category,
        retryable=ending.retryable,
        retry_after=ending.delay if ending.kind == "later" else None,
    )
