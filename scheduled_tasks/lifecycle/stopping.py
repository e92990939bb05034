"""Cancel, skip and give up queued executions; ask running ones to stop."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db import models

from scheduled_tasks.lifecycle import aftermath, alerting
from scheduled_tasks.lifecycle.aftermath import StatusChange
from scheduled_tasks.lifecycle.alerting import LateSlots
from scheduled_tasks.lifecycle.batches import batches
from scheduled_tasks.lifecycle.results import count_results
from scheduled_tasks.lifecycle.transitions import (
    DELETED,
    GIVING_UP_FIELDS,
    MOVED_MEANWHILE,
    end_unrun,
    write,
)
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.execution_queries import ExecutionQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.compiled import CompiledQuery
from scheduled_tasks.models.sql.notify import wake_workers
from scheduled_tasks.models.sql.transactions import LostRaceError, transactional, write_alias
from scheduled_tasks.models.storable import refuse_unstorable
from scheduled_tasks.models.task_change import BY_CODE
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.heartbeats.recording import heartbeat_urls, record_ends
from scheduled_tasks.runtime.sanitizing import redacted_text

Status = Execution.Status

#: The columns that stopping reads, to decide what follows and to count it.
READ_TO_STOP = (
    "task",
    "task_name",
    "status",
    "test_mode",
    "attempt",
    "processed_count",
    "error_count",
    "cancel_requested_at",
)


def cancel(
    ids: Collection[int], now: datetime, *, reason: str = "", by: str = "", using: str = ""
) -> list[int]:
    """Cancel executions, one batch per transaction; return the ids of those that this has changed.

    Queued executions end at once. Running ones are asked to stop by their worker, and end when they
    have stopped. ``reason`` and ``by`` are recorded at once. Raise InvalidTask if they cannot be.
    """
    refuse_unstorable(reason=reason, by=by)
    using, why = using or write_alias(), why_cancelled(reason, by)
    done = (cancel_batch(batch, now, reason=why, using=using) for batch in batches(ids))
    return [pk for stopped in done for pk in stopped]


@transactional
def cancel_batch(ids: Collection[int], now: datetime, *, reason: str, using: str) -> list[int]:
    rows = Execution.objects.using(using).filter(pk__in=ids).unfinished()
    # The states first, as everywhere, although nothing is read from them.
    list(rows.states().locked())
    stopped = stop(rows, now, reason=reason)
    if stopped:
        wake_workers(using)
    return stopped


def stop(rows: ExecutionQuerySet, now: datetime, *, reason: str) -> list[int]:
    """Cancel the queued executions of a set and ask the running ones to stop, in a transaction.

    Return the ids of both, without those that were asked before. Raise LostRaceError, and so retry
    the transaction, if one of them has changed: only possible where rows cannot be locked.
    """
    found = list(rows.locked().only(*READ_TO_STOP))
    queued = [row for row in found if row.status == Status.QUEUED]
    # What was asked before keeps its first reason.
    running = [row.pk for row in found if row.status == Status.RUNNING and row.may_be_cancelled]
    everything = Execution.objects.using(rows.write_alias)
    ids = [row.pk for row in queued]
    stopped = cancel_queued(everything, queued, now, reason=reason) if queued else 0
    if running:
        asked = everything.running().filter(pk__in=running, cancel_requested_at=None)
        stopped += asked.update(cancel_requested_at=now, reason=reason)
    if stopped != len(ids) + len(running):
        raise LostRaceError(MOVED_MEANWHILE)
    report_cancelled(everything, [row.pk for row in queued if row.attempt], now)
    return ids + running


def cancel_queued(
    everything: ExecutionQuerySet, rows: Sequence[Execution], now: datetime, *, reason: str
) -> int:
    waiting = everything.queued().filter(pk__in=[row.pk for row in rows])
    ended = waiting.update(status=Status.CANCELLED, reason=reason, finished_at=now)
    for row in rows:
        row.status, row.finished_at = Status.CANCELLED, now
    change = StatusChange(Status.QUEUED, Status.CANCELLED, rows)
    aftermath.executions_moved([change], using=everything.db)
    return ended


def report_cancelled(everything: ExecutionQuerySet, tried: Sequence[int], now: datetime) -> None:
    """Write the heartbeats of executions that were cancelled between two attempts."""
    if tried:
        told = everything.filter(pk__in=tried, task__heartbeat_url__gt="").order_by("pk")
        rows = list(told.select_related("task"))
        urls = {row.task.pk: row.task.heartbeat_url for row in rows if row.task}
        record_ends(rows, urls, now, using=everything.db)


def withdraw(state: TaskState, now: datetime, *, reason: str, using: str) -> int:
    """End the queued slots of a locked task, within a transaction; return how many.

    One that was never claimed is skipped. One that waits for another attempt has failed, with the
    error of its last attempt.
    """
    return withdraw_all({state.pk: state}, now, reason=reason, using=using)


def withdraw_all(states: Mapping[int, TaskState], now: datetime, *, reason: str, using: str) -> int:
    """End the queued slots of locked tasks like ``withdraw``, within a transaction."""
    waiting = Execution.objects.using(using).queued().of_slots()
    rows = list(waiting.filter(AnyOf("task", list(states))).locked())
    for row in rows:
        end_unrun(row, Status.SKIPPED, reason, now)
    end_queued(rows, states, now, using=using)
    return len(rows)


def end_queued(
    rows: Sequence[Execution], states: Mapping[int, TaskState], now: datetime, *, using: str
) -> None:
    """Write rows that end without another attempt, and the states of those that failed."""
    write(rows, GIVING_UP_FIELDS, before=Status.QUEUED, using=using)
    failed = [row for row in rows if row.status == Status.FAILED]
    count_results(failed, states, now, using=using)
    missed = [
        LateSlots(row.task_id, (row.slot,), row.reason)
        for row in rows
        if row.status == Status.MISSED and row.task_id is not None and row.slot is not None
    ]
    alerting.slots_late(missed, now, using=using)
    urls = heartbeat_urls({row.task_id for row in failed}, using=using)
    record_ends(failed, urls, now, using=using)


def cancel_waiting(task_id: int, now: datetime, *, using: str) -> list[int]:
    """Cancel the queued executions of a task that is being deleted, within a transaction."""
    waiting = Execution.objects.using(using).filter(task=task_id).queued()
    return stop(waiting, now, reason=DELETED)


def why_cancelled(reason: str, by: str) -> str:
    if by in ("", BY_CODE):
        return redacted_text(reason) or "Cancelled."
    return redacted_text(f"Cancelled by {by}: {reason}" if reason else f"Cancelled by {by}.")


def asked_to_stop(worker: str) -> list[tuple[int, int, str]]:
    """Return id, attempt and reason of the worker's executions that were asked to stop."""
    return ASKED_TO_STOP.rows(Execution.objects.on_primary(), workers=[worker])


def held_and_asked_to_stop(
    everything: ExecutionQuerySet, *, workers: Collection[str]
) -> models.QuerySet[Execution, tuple[int, int, str]]:
    held = everything.held(workers=workers).filter(cancel_requested_at__isnull=False)
    return held.values_list("pk", "attempt", "reason")


ASKED_TO_STOP = CompiledQuery(held_and_asked_to_stop, "workers")
