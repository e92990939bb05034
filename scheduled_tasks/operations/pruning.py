"""Deletes what has been kept long enough, in transactions that are short, however much there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from time import monotonic
from typing import TypeVar

from django.db import connections
from django.db.models import Count

from scheduled_tasks.conf import app_settings
from scheduled_tasks.handlers.declarations import showable
from scheduled_tasks.lifecycle.deleting import delete_expired_executions, delete_log_lines
from scheduled_tasks.models import Attempt, Delivery, ExecutionLog, Worker
from scheduled_tasks.models.alert import AlertQuerySet
from scheduled_tasks.models.delivery import DeliveryQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.batch_size import BatchSize
from scheduled_tasks.models.sql.transactions import write_alias
from scheduled_tasks.models.sql.windows import windows
from scheduled_tasks.monitoring.alerts import expiry
from scheduled_tasks.operations.archive import Archive
from scheduled_tasks.operations.expired_rows import (
    WINDOW_SIZE,
    ExpiredRows,
    OldExecution,
    OldLine,
    few_lines_at_a_time,
)
from scheduled_tasks.operations.retention import Retention, days_before, rules

Item = TypeVar("Item")

#: While a task of this name is scheduled, workers do not prune by themselves.
TASK_NAME = "prune-executions"
#: Executions, and log lines, that are archived in one file and then deleted.
EXECUTIONS_PER_FILE, LINES_PER_FILE = 2_000, 20_000
#: Days for which heartbeats that were sent are kept, for those who look why one did not arrive.
HEARTBEAT_DAYS = 1


@dataclass(slots=True)
class Pruned:
    """How much was deleted and archived; in a dry run, how much would be deleted."""

    executions: int = 0
    attempts: int = 0
    log_lines: int = 0
    alerts: int = 0
    deliveries: int = 0
    archived_files: int = 0
    archived_bytes: int = 0
    executions_by_task: Counter[str] = field(default_factory=Counter)
    log_lines_by_task: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        messages = self.alerts + self.deliveries
        return self.executions + self.attempts + self.log_lines + messages


#: Called after each step with the seconds that it took.
AfterStep = Callable[[float], None]


def prune_executions(
    *,
    now: datetime | None = None,
    dry_run: bool = False,
    pruned: Pruned | None = None,
    after_step: AfterStep = lambda seconds: None,
) -> Pruned:
    """Delete executions, attempts, log lines, alerts and deliveries that were kept long enough.

    Age is judged by the database's time unless ``now`` is given. The storage that
    ``ARCHIVE_STORAGE`` names has the first three before they are deleted. ``dry_run`` only counts.
    Raise ArchiveFailed where the storage fails, InvalidSettings if there is no such storage, and
    InvalidTask for a ``now`` that is no moment.

    ``pruned`` counts what is done already. ``after_step`` may sleep, and ends the pruning by
    raising.
    """
    pruned = pruned or Pruned()
    # Not by the clock of this host: one that is wrong would delete what is young, for good.
    moment = database_time() if now is None else showable("now", now)
    Pruning(moment, pruned, dry_run=dry_run, after_step=after_step).run()
    return pruned


def database_time() -> datetime:
    return Worker.objects.using(write_alias()).database_time()


class Pruning:
    """One pass over everything that is kept for some time only."""

    def __init__(
        self, now: datetime, pruned: Pruned, *, dry_run: bool, after_step: AfterStep
    ) -> None:
        self.now = now
        self.pruned = pruned
        self.dry_run = dry_run
        self.after_step = after_step
        self.using = write_alias()
        # Where rows cannot be locked, a transaction that writes keeps all others waiting.
        alone = not connections[self.using].features.has_select_for_update
        self.execution_batch = BatchSize(alone=alone)
        self.line_batch = BatchSize(alone=alone)
        self.message_batch = BatchSize(alone=alone)
        alias = "" if dry_run else app_settings.ARCHIVE_STORAGE
        self.archive = Archive(alias, using=self.using) if alias else None

    def run(self) -> None:
        """Prune by each rule, log lines first; then what was sent about executions."""
        rest, *own = rules(self.now, using=self.using)
        for rule in (rest, *own):
            expired = ExpiredRows(rule, using=self.using, step=self.step)
            for lines in in_groups(expired.log_lines(), LINES_PER_FILE):
                self.prune_lines(lines)
            for executions in in_groups(expired.executions(), EXECUTIONS_PER_FILE):
                if self.dry_run:
                    self.count(executions, rule)
                else:
                    self.prune(executions, expired)
        # An alert is kept as long as what it reports.
        self.prune_alerts(expiry.successes_before(rest.executions_before, using=self.using))
        self.prune_alerts(expiry.cleared_before(rest.failures_before, using=self.using))
        self.prune_reminders(expiry.old_reminders(rest.failures_before, using=self.using))
        self.prune_heartbeats(days_before(self.now, HEARTBEAT_DAYS))

    def prune_lines(self, lines: Sequence[OldLine]) -> None:
        """Archive and delete log lines of executions that stay."""
        if self.dry_run:
            self.count_lines(Counter(line.task_name for line in lines))
            return
        if self.archive:
            with self.step():
                size = self.archive.save_log_lines([line.pk for line in lines], self.now)
                self.count_file(size)
        self.delete_lines(lines)

    def prune(self, executions: Sequence[OldExecution], expired: ExpiredRows) -> None:
        """Archive and delete executions, the lines of their logs before them."""
        if self.archive:
            with self.step():
                size = self.archive.save_executions([row.pk for row in executions], self.now)
                self.count_file(size)
        if expired.rule.leaves_lines:
            for some in few_lines_at_a_time(executions):
                with self.step():
                    lines = expired.log_lines_of(some)
                self.delete_lines(lines)
        for batch in self.execution_batch.split(executions, lambda row: row.rows):
            with self.step(self.execution_batch, sum(row.rows for row in batch)):
                gone, attempts = delete_expired_executions(
                    [row.pk for row in batch], expired.rule.expired, using=self.using
                )
                self.count_executions([row for row in batch if row.pk in gone], attempts)

    def delete_lines(self, lines: Iterable[OldLine]) -> None:
        for batch in self.line_batch.split(lines, lambda line: 1):
            with self.step(self.line_batch, len(batch)):
                delete_log_lines([line.pk for line in batch], using=self.using)
                self.count_lines(Counter(line.task_name for line in batch))

    def prune_alerts(self, expired: AlertQuerySet) -> None:
        """Delete alerts, with what was sent of them."""
        if self.dry_run:
            self.pruned.alerts += expired.count()
            sent = Delivery.objects.using(self.using).filter(alert__in=expired.order_by())
            self.pruned.deliveries += sent.count()
            return
        more = True
        while more:
            limit = self.message_batch.rows
            with self.step(self.message_batch, limit):
                alerts, deliveries = expiry.delete_alerts(expired, limit=limit, using=self.using)
                self.pruned.alerts += alerts
                self.pruned.deliveries += deliveries
            more = alerts + deliveries >= limit

    def prune_reminders(self, expired: DeliveryQuerySet) -> None:
        """Delete reminders of alerts that are open still."""
        if self.dry_run:
            self.pruned.deliveries += expired.count()
            return
        more = True
        while more:
            limit = self.message_batch.rows
            with self.step(self.message_batch, limit):
                ids = list(expired.values_list("pk", flat=True)[:limit])
                self.pruned.deliveries += expiry.delete_deliveries(ids, using=self.using)
            more = len(ids) == limit

    def prune_heartbeats(self, moment: datetime) -> None:
        """Delete heartbeats that were sent, or given up, before a moment."""
        everything = Delivery.objects.using(self.using)
        for window in windows(
            everything,
            made_at="created_at",
            before=moment,
            now=self.now,
            size=WINDOW_SIZE,
            step=self.step,
        ):
            with self.step():
                old = window.filter(expiry.finished_heartbeats(moment)).order_by("pk")
                ids = list(old.values_list("pk", flat=True))
            if self.dry_run:
                self.pruned.deliveries += len(ids)
                continue
            for batch in self.message_batch.split(ids, lambda pk: 1):
                with self.step(self.message_batch, len(batch)):
                    deleted = expiry.delete_deliveries(batch, using=self.using)
                    self.pruned.deliveries += deleted

    def count(self, executions: Sequence[OldExecution], rule: Retention) -> None:
        """Count what would go with executions; older log lines are counted by themselves."""
        with self.step():
            ids = [row.pk for row in executions]
            attempts = Attempt.objects.using(self.using).filter(AnyOf("execution", ids))
            self.count_executions(executions, attempts.count())
            lines = ExecutionLog.objects.using(self.using).filter(
                AnyOf("execution", ids), logged_at__gte=rule.logs_before
            )
            by_task = lines.order_by().values_list("execution__task_name").annotate(Count("pk"))
            self.count_lines(Counter(dict(by_task)))

    def count_executions(self, executions: Sequence[OldExecution], attempts: int) -> None:
        self.pruned.executions += len(executions)
        self.pruned.attempts += attempts
        self.pruned.executions_by_task.update(row.task_name for row in executions)

    def count_lines(self, by_task: Counter[str]) -> None:
        self.pruned.log_lines += by_task.total()
        self.pruned.log_lines_by_task.update(by_task)

    def count_file(self, size: int) -> None:
        self.pruned.archived_files += 1
        self.pruned.archived_bytes += size

    @contextmanager
    def step(self, batch: BatchSize | None = None, rows: int = 0) -> Iterator[None]:
        """Time a step, let the size of the batches follow, and give the caller a turn."""
        begun = monotonic()
        yield
        seconds = monotonic() - begun
        if batch:
            batch.learn(rows, seconds)
        self.after_step(seconds)


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of this size; the last one is shorter."""
    left = iter(items)
    while group := list(islice(left, size)):
        yield group
