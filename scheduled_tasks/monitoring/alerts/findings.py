"""What transactions and scans find, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.wording import counted, duration, in_utc


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
        # True as long as the alert is open: this one may be settled before others of the task.
        message=f"Executions wait to be requeued or resolved, since {execution.pk} has failed for "
        f"good: {why_failed(execution)}",
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
        message=execution.reason or f"It succeeded after {duration(seconds)}.",
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


def not_started(task: Task, slot: datetime, seconds: int) -> Finding:
    """Return that a slot has not begun within the seconds that the task allows."""
    return Finding(
        condition=Condition.NOT_STARTED,
        task=task,
        message=f"The slot of {in_utc(slot)} has not started within {duration(seconds)}.",
        details={"slot": slot.isoformat()},
    )


def running_long(execution_id: int, task: Task, limit: timedelta) -> Finding:
    return Finding(
        condition=Condition.RUNNING_LONG,
        task=task,
        execution_id=execution_id,
        message=f"Execution {execution_id} has been running for more than "
        f"{duration(limit.total_seconds())}.",
    )


def too_fast(execution: Execution, task: Task, usual_ms: int) -> Finding:
    seconds = (execution.duration_ms or 0) / 1000
    return Finding(
        condition=Condition.TOO_FAST,
        task=task,
        execution_id=execution.pk,
        message=f"Execution {execution.pk} succeeded after {duration(seconds)}. "
        f"Usually it takes {duration(usual_ms / 1000)}.",
    )


def over_interval(task: Task, usual_ms: int, interval: timedelta) -> Finding:
    return Finding(
        condition=Condition.OVER_INTERVAL,
        task=task,
        message=f"It usually takes {duration(usual_ms / 1000)}, and its slots are "
        f"{duration(interval.total_seconds())} apart.",
    )


def no_success(task: Task, last: datetime | None, limit: timedelta) -> Finding:
    """Return that a task has been silent for too long; ``last`` is its last success."""
    last_one = (
        f"Its last successful run began at {in_utc(last)}." if last else "It has never succeeded."
    )
    return Finding(
        condition=Condition.NO_SUCCESS,
        task=task,
        message=f"It has not succeeded for {duration(limit.total_seconds())}. {last_one}",
        details={"last": last and last.isoformat()},
    )


def worker_lost(worker: Worker) -> Finding:
    """Return that a worker was given up. The alert collects the ids of those with one label."""
    return Finding(
        condition=Condition.WORKER_LOST,
        subject=worker.label,
        message=f"The worker {worker.label} sent its last heartbeat at "
        f"{in_utc(worker.heartbeat_at)}. Other workers take over what it ran.",
        details={"workers": [str(worker.pk)]},
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
