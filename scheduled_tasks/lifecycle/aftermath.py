"""What follows when executions end: every transaction that writes a final status passes here.

The functions are called within that transaction, with all that it changed at once. What they do
outside the database happens after the commit, in the process and thread that committed. In a
transaction of the caller, such as a test case or an atomic request, that is when the caller
commits.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from django.db import transaction

from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.lifecycle.batches import BATCH_SIZE
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring import findings, rollups
from scheduled_tasks.monitoring.alerts import (
    Finding,
    clear_alerts,
    open_alerts_of,
    raise_alerts,
)
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.signal_sending import send
from scheduled_tasks.runtime.statuses import ENDED_BADLY, FINISHED, Status
from scheduled_tasks.signals import execution_finished, slot_missed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StatusChange:
    """Executions that a transaction moved from the status ``before`` to the status ``after``.

    The rows are as they were written.
    """

    before: str
    after: str
    rows: Sequence[Execution]

    @property
    def ids(self) -> list[int]:
        return [row.pk for row in self.rows]


@dataclass(frozen=True, slots=True)
class CoveredSlots:
    """Slots that a transaction added to a row that covers slots.

    ``first`` is the first slot of the row, which finds it. ``is_new`` says that the transaction
    made the row. ``at`` is when it was decided.
    """

    task_id: int
    task_name: str
    first: datetime
    slots: Sequence[datetime]
    status: str
    at: datetime
    is_new: bool


@dataclass(frozen=True, slots=True)
class LateSlots:
    """Slots of a task that no scheduler started in time, and what became of the last one."""

    task_id: int
    slots: Sequence[datetime]
    reason: str


@dataclass(frozen=True, slots=True)
class CountedResult:
    """An execution that has ended, with the failures in a row of its task before and after."""

    execution: Execution
    failures_before: int
    failures: int

    @property
    def recovers(self) -> bool:
        """Whether it ends a series of failures."""
        return self.failures_before > 0 and self.failures == 0

    @property
    def is_eventful(self) -> bool:
        """Whether it may raise or clear an alert: most successes do not."""
        ended_badly = self.execution.status in ENDED_BADLY
        return self.recovers or ended_badly or self.is_wanted_success

    @property
    def is_wanted_success(self) -> bool:
        """Whether it is a success of a task that reports them."""
        wanted = Condition.SUCCESS in (self.execution.notify_on or ())
        return wanted and self.execution.status == Status.SUCCESS

    def findings(self, tasks: Mapping[int, Task]) -> Iterator[Finding]:
        """Yield what it has to report."""
        task = tasks.get(self.execution.task_id or 0)
        if task is None:
            return
        if self.is_wanted_success:
            yield findings.success(self.execution, task)
        if self.execution.status == Status.PARTIAL:
            yield findings.partial(self.execution, task)
        if self.execution.status == Status.FAILED:
            if found := findings.failure(self.execution, task, self.failures):
                yield found
            yield findings.dead_letter(self.execution, task)


def executions_moved(changes: Collection[StatusChange], *, using: str) -> None:
    """Count executions in the rollups, and send the signals for those that ended."""
    rollups.record(
        (fact for change in changes for fact in rollups.ended(change.rows, before=change.before)),
        using=using,
    )
    if not has_receivers():
        return
    ended = [pk for change in changes if is_final(change.after) for pk in change.ids]
    if ended:
        after_commit(partial(send_finished, ended, using=using), using)


def ended_before(ids: Sequence[int], *, using: str) -> None:
    """Send ``execution_finished`` for what an earlier transaction ended without an answer.

    The connection was lost at its COMMIT, so it could not send the signal itself.
    """
    if has_receivers():
        after_commit(partial(send_finished, ids, using=using), using)


def slots_covered(covered: Sequence[CoveredSlots], *, using: str) -> None:
    """Count slots in the rollups, and send the signals for rows that are new or were missed."""
    rollups.record(
        (
            rollups.covered(
                each.task_id, each.task_name, each.status, slots=len(each.slots), at=each.at
            )
            for each in covered
        ),
        using=using,
    )
    if covered and has_receivers():
        after_commit(partial(send_covered, covered, using=using), using)


def slots_late(late: Sequence[LateSlots], now: datetime, *, using: str) -> None:
    """Raise alerts for slots that no scheduler started in time."""
    if late:
        tasks = Task.objects.using(using).in_bulk([each.task_id for each in late])
        found = [
            findings.missed(tasks[each.task_id], each.slots, each.reason)
            for each in late
            if each.task_id in tasks
        ]
        raise_alerts(found, now, using=using)


def results_counted(results: Sequence[CountedResult], now: datetime, *, using: str) -> None:
    """Raise alerts for failures, and clear those of tasks that have succeeded since."""
    eventful = [result for result in results if result.is_eventful]
    if not eventful:
        return
    ids = {result.execution.task_id for result in eventful}
    tasks = Task.objects.using(using).in_bulk([pk for pk in ids if pk is not None])
    # In the order in which they ended: a task may fail and succeed in one transaction.
    for recovers, together in groupby(eventful, key=lambda result: result.recovers):
        group = list(together)
        if recovers:
            recovered = {result.execution.task_id for result in group}
            alerts = open_alerts_of(recovered, Condition.FAILED, using=using)
            clear_alerts(alerts, "The task has succeeded.", now, using=using)
        found = [each for result in group for each in result.findings(tasks)]
        raise_alerts(found, now, using=using)


def task_parked(task: Task, reason: str, now: datetime, *, using: str) -> None:
    """Raise an alert for a task that does not run until it is fixed."""
    raise_alerts([findings.parked(task, reason)], now, using=using)


def task_unparked(task: Task, now: datetime, *, using: str) -> None:
    """Clear the alert of a task that runs again."""
    alerts = open_alerts_of([task.pk], Condition.PARKED, using=using)
    clear_alerts(alerts, "The task is no longer parked.", now, using=using)


def workers_lost(workers: Sequence[Worker], now: datetime, *, using: str) -> None:
    """Raise alerts for workers that were given up, and log it."""
    if workers:
        raise_alerts(map(findings.worker_lost, workers), now, using=using)
        after_commit(partial(log_lost, workers), using)


def has_receivers() -> bool:
    """Whether anything listens to the signals: if not, no row has to be read for them."""
    return bool(execution_finished.receivers or slot_missed.receivers)


def is_final(status: str) -> bool:
    return status in FINISHED


def after_commit(announce: partial[None], using: str) -> None:
    # Robust: what is committed must not look as if it had failed.
    transaction.on_commit(announce, using=using, robust=True)


def send_finished(ids: Sequence[int], *, using: str) -> None:
    """Send the signals for executions that ended, in the order in which they ended."""
    rows = Execution.objects.using(using).finished().select_related("task")
    # In batches: a task that is deleted may end thousands of executions at once.
    for start in range(0, len(ids), BATCH_SIZE):
        batch = rows.filter(pk__in=ids[start : start + BATCH_SIZE])
        for row in batch.order_by("finished_at", "pk"):
            sender = sender_for(row)
            send(execution_finished, sender=sender, execution=row)
            if row.status == Execution.Status.MISSED:
                send(slot_missed, sender=sender, execution=row, slots=(row.slot,))


def send_covered(covered: Sequence[CoveredSlots], *, using: str) -> None:
    """Send the signals for rows that cover slots."""
    found = Execution.objects.using(using).select_related("task")
    found = found.filter(
        task__in={each.task_id for each in covered},
        slot__in={each.first for each in covered},
        slot_until__isnull=False,  # a slot that had an execution already has kept that one
    )
    rows = {(row.task_id, row.slot): row for row in found}
    for each in covered:
        row = rows.get((each.task_id, each.first))
        if row is None or row.status != each.status:
            continue  # deleted since, or made by another transaction
        sender = sender_for(row)
        if each.is_new:
            send(execution_finished, sender=sender, execution=row)
        if each.status == Execution.Status.MISSED:
            send(slot_missed, sender=sender, execution=row, slots=tuple(each.slots))


def sender_for(row: Execution) -> object:
    """Return the handler's function, None where this process does not know the handler."""
    # Not the key: Django compares senders by identity, and equal texts need not be identical.
    handler = registry.handlers.get(row.handler)
    return handler.function if handler else None


def log_lost(workers: Sequence[Worker]) -> None:
    for worker in workers:
        logger.error("worker lost label=%s, its last heartbeat was %s", worker, worker.heartbeat_at)
