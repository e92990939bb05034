"""Alert: what ends, is missed, is parked or is lost raises and clears alerts.

Called within the transaction of the state change, so that an alert is as certain as what it is
about.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby

from django.db import transaction

from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.worker import Worker
from scheduled_tasks.monitoring.alerts import findings
from scheduled_tasks.monitoring.alerts.clearing import (
    LATER_RUN_SUCCEEDED,
    NOT_PARKED,
    SUCCEEDED,
    late_slot_of,
)
from scheduled_tasks.monitoring.alerts.concerned import READ_OF_TASK
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
    def task_id(self) -> int:
        """The id of its task, which has a state that counts it."""
        return self.execution.task_id or 0

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
    def is_requested_success(self) -> bool:
        """Whether it is a success that someone asked for, not the schedule."""
        return self.execution.status == Status.SUCCESS and not self.execution.of_slot

    @property
    def is_wanted_success(self) -> bool:
        """Whether it is a success of a task that reports them."""
        wanted = Condition.SUCCESS in (self.execution.notify_on or ())
        return wanted and self.execution.status == Status.SUCCESS

    def findings(self, tasks: Mapping[int, Task]) -> Iterator[Finding]:
        """Yield what it has to report."""
        task = tasks.get(self.task_id)
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
    if not late:
        return
    with logging_errors("missed slots", using=using):
        tasks = tasks_of([each.task_id for each in late], using=using)
        found = [
            findings.missed(tasks[each.task_id], each.slots, each.reason)
            for each in late
            if each.task_id in tasks
        ]
        raise_alerts(found, now, using=using)


def results_counted(results: Sequence[CountedResult], now: datetime, *, using: str) -> None:
    """Raise alerts for failures, and clear those of tasks that have succeeded since."""
    eventful = [result for result in results if result.is_eventful]
    requested = [result for result in results if result.is_requested_success]
    if eventful or requested:
        with logging_errors("the results of runs", using=using):
            clear_late_slots(requested, now, using=using)
            raise_and_clear(eventful, now, using=using)


def clear_late_slots(results: Iterable[CountedResult], now: datetime, *, using: str) -> None:
    """Clear the alerts of slots for which a later run on request has made up."""
    began: dict[int, datetime] = {}
    for result in results:
        if start := result.execution.started_at:
            began[result.task_id] = max(start, began.get(result.task_id, start))
    if began:
        late = open_alerts_of(began, Condition.MISSED, Condition.NOT_STARTED, using=using)
        over = [alert for alert in late if began[alert.task_id or 0] > late_slot_of(alert)]
        clear_alerts(over, LATER_RUN_SUCCEEDED, now, using=using)


def raise_and_clear(results: Sequence[CountedResult], now: datetime, *, using: str) -> None:
    """Raise alerts for what failed, and clear those of what recovers, as it happened."""
    tasks = tasks_of({result.task_id for result in results}, using=using) if results else {}
    # In the order in which they ended: a task may fail and succeed in one transaction.
    for recovers, together in groupby(results, key=lambda result: result.recovers):
        group = list(together)
        if recovers:
            recovered = {result.task_id for result in group}
            alerts = open_alerts_of(recovered, Condition.FAILED, using=using)
            clear_alerts(alerts, SUCCEEDED, now, using=using)
        found = [each for result in group for each in result.findings(tasks)]
        raise_alerts(found, now, using=using)


def tasks_parked(tasks: Sequence[Task], reason: str, now: datetime, *, using: str) -> None:
    """Raise alerts for tasks that do not run until they are fixed."""
    with logging_errors("parked tasks", using=using):
        raise_alerts([findings.parked(task, reason) for task in tasks], now, using=using)


def tasks_unparked(task_ids: Collection[int], now: datetime, *, using: str) -> None:
    """Clear the alerts of tasks that run again."""
    with logging_errors("tasks that are no longer parked", using=using):
        alerts = open_alerts_of(task_ids, Condition.PARKED, using=using)
        clear_alerts(alerts, NOT_PARKED, now, using=using)


def workers_lost(workers: Sequence[Worker], now: datetime, *, using: str) -> None:
    """Raise alerts for workers that were given up, and log it."""
    if workers:
        with logging_errors("lost workers", using=using):
            raise_alerts(map(findings.worker_lost, workers), now, using=using)
        transaction.on_commit(partial(log_lost, workers), using=using, robust=True)


@contextmanager
def logging_errors(about: str, *, using: str) -> Iterator[None]:
    """Write alerts in a savepoint. What goes wrong is logged, and undoes nothing else.

    What the transaction is for must not fail for an alert. A database that is away, and a conflict
    with another transaction, still end it.
    """
    try:
        with transaction.atomic(using=using):
            yield
    except AWAY:
        raise
    except Exception:
        logger.exception("alerts about %s could not be written", about)


def tasks_of(ids: Collection[int], *, using: str) -> dict[int, Task]:
    """Return the tasks with these ids, with what alerts read of them."""
    rows = Task.objects.using(using).filter(AnyOf("pk", list(ids))).only(*READ_OF_TASK)
    return {task.pk: task for task in rows}


def log_lost(workers: Sequence[Worker]) -> None:
    for worker in workers:
        logger.error("worker lost label=%s, its last heartbeat was %s", worker, worker.heartbeat_at)
