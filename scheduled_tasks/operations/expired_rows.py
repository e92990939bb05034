"""Finds the rows that may go by a rule, without reading all rows or very many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple

from django.db.models import QuerySet

from scheduled_tasks.models import Execution, ExecutionLog
from scheduled_tasks.models.execution_queries import ExecutionQuerySet
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.windows import Row, windows
from scheduled_tasks.operations.retention import NewestKept, Retention, extendable
from scheduled_tasks.runtime import statuses

#: Rows that one query looks at.
WINDOW_SIZE = 2_000


class OldExecution(NamedTuple):
    """The columns that are read of an execution that may go."""

    pk: int
    task_id: int | None
    task_name: str
    attempt: int
    log_count: int
    slot_until: datetime | None

    @property
    def rows(self) -> int:
        """The number of rows that go with it, its log aside."""
        return max(self.attempt, 1)


class OldLine(NamedTuple):
    """The columns that are read of a log line that may go."""

    pk: int
    task_name: str


class ExpiredRows:
    """The rows that may go by a rule. Each query is one step, which the caller may time."""

    def __init__(
        self, rule: Retention, *, using: str, step: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.rule = rule
        self.using = using
        self.step = step

    def executions(self) -> Iterator[OldExecution]:
        """Yield the executions that may go."""
        newest = NewestKept(self.rule.keep_last, using=self.using)
        last = max(self.rule.executions_before, self.rule.failures_before)
        for window in self.windows(self.walked, made_at="created_at", before=last):
            with self.step():
                found = read(window.filter(self.rule.expired))
                kept = newest.among((row.pk, row.task_id) for row in found)
                kept |= self.extendable(found)
            yield from (row for row in found if row.pk not in kept)

    def log_lines(self) -> Iterator[OldLine]:
        """Yield the log lines that may go before their execution does."""
        if self.rule.task_id:
            yield from self.log_lines_of_task()
            return
        lines = ExecutionLog.objects.using(self.using).order_by("pk")
        for window in self.windows(lines, made_at="logged_at", before=self.rule.logs_before):
            with self.step():
                rows = window.filter(self.rule.expired_lines)
                found = list(rows.values_list("pk", "execution__task_name"))
            yield from map(OldLine._make, found)

    def log_lines_of_task(self) -> Iterator[OldLine]:
        """Yield the old lines of one task, by the index of its executions."""
        logged = self.walked.filter(log_count__gt=0, status__in=statuses.FINISHED)
        for window in self.windows(logged, made_at="created_at", before=self.rule.logs_before):
            with self.step():
                found = read(window)
            for some in few_lines_at_a_time(found):
                with self.step():
                    lines = self.log_lines_of(some, logged_at__lt=self.rule.logs_before)
                yield from lines

    def log_lines_of(self, executions: Iterable[OldExecution], **which: datetime) -> list[OldLine]:
        """Return the log lines of these executions."""
        ids = [row.pk for row in executions]
        lines = ExecutionLog.objects.using(self.using).filter(AnyOf("execution", ids), **which)
        rows = lines.order_by("pk").values_list("pk", "execution__task_name")
        return [*map(OldLine._make, rows)]

    def windows(
        self, rows: QuerySet[Row], *, made_at: str, before: datetime
    ) -> Iterator[QuerySet[Row]]:
        """Yield the rows by ascending id, some at a time, up to those that are younger."""
        return windows(
            rows,
            made_at=made_at,
            before=before,
            now=self.rule.now,
            size=WINDOW_SIZE,
            step=self.step,
        )

    @property
    def walked(self) -> ExecutionQuerySet:
        return self.rule.walked.using(self.using)

    def extendable(self, found: Iterable[OldExecution]) -> set[int]:
        """Return which rows may still cover more slots."""
        covering = {row.pk: row.task_id for row in found if row.slot_until}
        tasks = {task for task in covering.values() if task}
        return extendable(tasks, covering, using=self.using) if tasks else set()


def read(rows: QuerySet[Execution]) -> list[OldExecution]:
    return [*map(OldExecution._make, rows.order_by("pk").values_list(*OldExecution._fields))]


def few_lines_at_a_time(executions: Iterable[OldExecution]) -> Iterator[list[OldExecution]]:
    """Yield the executions that have logged, so that a list has WINDOW_SIZE lines or one log."""
    some: list[OldExecution] = []
    for row in executions:
        if some and sum(each.log_count for each in some) + row.log_count > WINDOW_SIZE:
            yield some
            some = []
        if row.log_count:
            some.append(row)
    if some:
        yield some
