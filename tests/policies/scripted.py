"""Workers of the real engine whose runs end when, and how, a script says so."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from scheduled_tasks.executors.base import Executor
from scheduled_tasks.runtime.runs import Ending as RealEnding
from scheduled_tasks.runtime.runs import Loss, Outcome, Run
from scheduled_tasks.worker.scheduler import Scheduler
from tests.policies.records import Ending, Execution

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

    def __init__(self, name: str, concurrency: int, queues: tuple[str, ...] = ()) -> None:
        self.name, self.concurrency, self.queues = name, concurrency, queues
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
