"""Slots that nothing started in time: those that no scheduler has decided, and those that wait.

A task with an open alert is left out, so that each scan finds other tasks than the one before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice

from django.db.models import F, Min, Q

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.sql.windows import pages
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState, TaskStateQuerySet
from scheduled_tasks.monitoring.alerts import findings
from scheduled_tasks.monitoring.alerts.concerned import (
    MAX_FINDINGS,
    PAGE_SIZE,
    columns_of_task,
    has_alert,
    may_be_on,
)
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.monitoring.conditions.later_slots import LateSlot, overtaken
from scheduled_tasks.monitoring.health.live_workers import handlers_of, live_workers
from scheduled_tasks.runtime.conditions import Condition

UNDECIDED = "No scheduler has decided it."


@dataclass(frozen=True, slots=True)
class WaitingSlot:
    """A slot that has not begun, and the moment from which it might."""

    task: Task
    slot: datetime
    due: datetime

    def waits_longer_than(self, seconds: float | None, now: datetime) -> bool:
        return seconds is not None and self.due + timedelta(seconds=seconds) < now


def missed(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield tasks whose slot no scheduler has decided in time."""
    lateness = timedelta(seconds=app_settings.MISFIRE_THRESHOLD)
    late = (
        findings.missed(each.task, [each.slot], UNDECIDED)
        for each in undecided(Condition.MISSED, before=now - lateness, now=now, using=using)
        if each.waits_longer_than(each.task.misfire_grace or 0, now - lateness)
    )
    return islice(late, MAX_FINDINGS)


def not_started(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield tasks with a slot that has not begun within the time they allow."""
    if Pause.objects.using(using).in_force(now).exists():
        return iter(())  # nothing is claimed
    slots = chain(
        undecided(Condition.NOT_STARTED, before=now, now=now, using=using),
        queued(now, using=using),
    )
    late = (
        findings.not_started(each.task, each.slot, start_within(each.task) or 0)
        for each in slots
        if each.waits_longer_than(start_within(each.task), now)
    )
    return islice(late, MAX_FINDINGS)


def start_within(task: Task) -> int | None:
    return threshold(Condition.NOT_STARTED, "start_within", task)


def undecided(
    condition: str, *, before: datetime, now: datetime, using: str
) -> Iterator[WaitingSlot]:
    """Yield slots before a moment that no scheduler has decided, of enabled tasks.

    Left out are slots in a pause, and tasks of a handler that no live worker knows: while new code
    is rolled out they wait for it, and are parked after HANDLER_GRACE.
    """
    states = TaskState.objects.using(using).filter(next_run_at__lt=before, parked_at=None)
    first = states.aggregate(first=Min("next_run_at"))["first"]
    if first is None:
        return
    states = states.handled_by(handlers_of(live_workers(now, using=using)))
    states = outside_pauses(states, since=first, using=using)
    states = states.filter(may_be_on(condition), ~has_alert(condition, "pk", using=using))
    rows = states.filter(task__enabled=True).select_related("task")
    columns = columns_of_task("misfire_grace")
    for page in pages(rows.only("next_run_at", *columns), size=PAGE_SIZE):
        for state in page:
            if state.next_run_at is not None and is_on(condition, state.task):
                yield WaitingSlot(state.task, state.next_run_at, state.next_run_at)


def outside_pauses(states: TaskStateQuerySet, *, since: datetime, using: str) -> TaskStateQuerySet:
    """Leave out tasks whose next slot lies in a pause, their own or a global one."""
    inside = Q(task__paused_until__gt=F("next_run_at"))
    for pause in Pause.objects.using(using).ending_after(since):
        covered = Q(next_run_at__gte=pause.begun_at)
        for end in (pause.until, pause.ended_at):
            if end is not None:
                covered &= Q(next_run_at__lt=end)
        inside |= covered
    return states.exclude(inside)


def queued(now: datetime, *, using: str) -> Iterator[WaitingSlot]:
    """Yield the newest slots that wait for their first attempt, by task.

    A task is left out if a later slot began in time: its alert would be cleared at once.
    """
    condition = Condition.NOT_STARTED
    waiting = Execution.objects.using(using).queued().of_slots().filter(attempt=0)
    waiting = waiting.filter(too_long(now), task__isnull=False)
    waiting = waiting.exclude(task__paused_until__gt=now)
    waiting = waiting.filter(may_be_on(condition), ~has_alert(condition, "task", using=using))
    rows = waiting.select_related("task").only("slot", "run_after", *columns_of_task())
    for page in pages(rows, size=PAGE_SIZE):
        late: dict[int, WaitingSlot] = {}
        for row in page:
            if row.task is None or row.slot is None or not is_on(condition, row.task):
                continue
            each = WaitingSlot(row.task, row.slot, row.run_after)
            if each.waits_longer_than(start_within(row.task), now):
                late[row.task.pk] = each
        began = overtaken(
            (LateSlot(pk, each.slot, start_within(each.task) or 0) for pk, each in late.items()),
            using=using,
        )
        yield from (each for pk, each in late.items() if pk not in began)


def too_long(now: datetime) -> Q:
    """Return a filter for executions that may wait for too long."""
    by_task = Q(task__start_within__isnull=False, run_after__lt=now)
    seconds = threshold(Condition.NOT_STARTED, "start_within")
    if seconds is None:
        return by_task
    since = now - timedelta(seconds=seconds)
    return by_task | Q(task__start_within=None, run_after__lt=since)
