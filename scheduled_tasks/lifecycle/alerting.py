"""Alert: what ends, is missed, is parked or is lost raises and clears alerts.

Called within the transaction of the state change, so that an alert is as certain as what it is
about.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from django.db import transaction

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.alerts import findings
from scheduled_tasks.monitoring.alerts.raising import (
    Finding,
    clear_alerts,
    open_alerts_of,
    raise_alerts,
)
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.statuses import ENDED_BADLY, Status

logger = logging.getLogger(__name__)


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
        transaction.on_commit(partial(log_lost, workers), using=using, robust=True)


def log_lost(workers: Sequence[Worker]) -> None:
    for worker in workers:
        logger.error("worker lost label=%s, its last heartbeat was %s", worker, worker.heartbeat_at)
