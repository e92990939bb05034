"""What the transactions that move executions find out, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.wording import counted, in_utc


def failure(execution: Execution, task: Task, failures: int) -> Finding | None:
    """Return that an execution failed for good, if it was the last of enough in a row."""
    enough = threshold(Condition.FAILED, "alert_after_failures", task) or 1
    if failures < enough:
        return None
    in_a_row = f" ({failures} failures in a row)" if failures > 1 else ""
    return Finding(
        condition=Condition.FAILED,
        task=task,
        execution_id=execution.pk,
        message=f"{why_failed(execution)}{in_a_row}",
    )


def dead_letter(execution: Execution, task: Task) -> Finding:
    return Finding(
        condition=Condition.DEAD_LETTER,
        task=task,
        execution_id=execution.pk,
        message=f"Execution {execution.pk} waits to be requeued or resolved: "
        f"{why_failed(execution)}",
    )


def partial(execution: Execution, task: Task) -> Finding:
    """Return that an execution succeeded in part."""
    done = f"{execution.processed_count} processed, {counted(execution.error_count, 'error')}"
    return Finding(
        condition=Condition.PARTIAL,
        task=task,
        execution_id=execution.pk,
        message=execution.reason or execution.error or f"It succeeded in part: {done}.",
    )


def success(execution: Execution, task: Task) -> Finding:
    seconds = (execution.duration_ms or 0) / 1000
    return Finding(
        condition=Condition.SUCCESS,
        task=task,
        execution_id=execution.pk,
        message=execution.reason or f"It succeeded after {seconds:.1f} s.",
    )


def missed(task: Task, slots: Sequence[datetime], reason: str) -> Finding:
    """Return that no scheduler started slots in time; ``reason`` says what became of them."""
    several = f"{len(slots)} slots from {in_utc(slots[0])} to" if len(slots) > 1 else "The slot of"
    verb = "were" if len(slots) > 1 else "was"
    return Finding(
        condition=Condition.MISSED,
        task=task,
        message=f"{several} {in_utc(slots[-1])} {verb} not started in time. {reason}",
        details={"slot": slots[-1].isoformat()},
    )


def worker_lost(worker: Worker) -> Finding:
    return Finding(
        condition=Condition.WORKER_LOST,
        subject=worker.label,
        message=f"The worker {worker.label} sent its last heartbeat at "
        f"{in_utc(worker.heartbeat_at)}. Other workers take over what it ran.",
        details={"worker": str(worker.pk)},
    )


def parked(task: Task, reason: str) -> Finding:
    return Finding(
        condition=Condition.PARKED,
        task=task,
        message=f"It does not run until this is fixed: {reason}",
    )


def why_failed(execution: Execution) -> str:
    """Return the error of an execution, or why it ended without one."""
    return execution.error or execution.reason or "It failed without an error."
