"""Slots that nothing started in time: those that no scheduler has decided, and those that wait."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import chain

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.attempt import Attempt
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.pause import Pause
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.alerts import findings
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.raising import Finding
from scheduled_tasks.monitoring.health.live_workers import handlers_of, live_workers
from scheduled_tasks.runtime.conditions import Condition
from scheduled_tasks.runtime.statuses import OF_SLOTS
from scheduled_tasks.runtime.wording import in_utc

#: Findings of one condition at a time: after a long outage there may be one for each task.
MAX_FINDINGS = 1_000
#: The newest slots that are looked at to find one that began in time.
MAX_SLOTS_READ = 50
UNDECIDED = "No scheduler has decided it."


def missed(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield the tasks whose slot no scheduler has decided in time."""
    lateness = timedelta(seconds=app_settings.MISFIRE_THRESHOLD)
    for task, slot in undecided(now, before=now - lateness, using=using):
        grace = timedelta(seconds=task.misfire_grace or 0)
        if slot + lateness + grace < now:
            yield findings.missed(task, [slot], UNDECIDED)


def not_started(now: datetime, *, using: str) -> Iterator[Finding]:
    """Yield the tasks with a slot that has not begun within the time they allow."""
    if Pause.objects.using(using).in_force(now).exists():
        return  # nothing is claimed
    waiting = Execution.objects.using(using).queued().of_slots().filter(attempt=0)
    waiting = waiting.filter(run_after__lt=now, task__isnull=False).select_related("task")
    queued = (
        (row.task, row.slot, row.run_after)
        for row in waiting.order_by("run_after")[:MAX_FINDINGS]
        if row.task is not None and row.slot is not None and not row.task.is_paused(now)
    )
    late = ((task, slot, slot) for task, slot in undecided(now, before=now, using=using))
    for task, slot, due in chain(queued, late):
        within = threshold(Condition.NOT_STARTED, "start_within", task)
        if within is not None and due + timedelta(seconds=within) < now:
            yield Finding(
                condition=Condition.NOT_STARTED,
                task=task,
                message=f"The slot of {in_utc(slot)} has not started within {within} s.",
                details={"slot": slot.isoformat()},
            )


def undecided(now: datetime, *, before: datetime, using: str) -> Iterator[tuple[Task, datetime]]:
    """Yield enabled tasks with a slot before a moment that no scheduler has decided.

    Left out are slots in a pause, and tasks of a handler that no live worker knows: while new code
    is rolled out they wait for it, and are parked after HANDLER_GRACE.
    """
    states = TaskState.objects.using(using).filter(next_run_at__lt=before, parked_at=None)
    states = states.filter(task__enabled=True).select_related("task").order_by("next_run_at")
    found = list(states[:MAX_FINDINGS])
    if not found:
        return
    known = set(handlers_of(live_workers(now, using=using)))
    first = min(state.next_run_at or now for state in found)
    pauses = list(Pause.objects.using(using).ending_after(first))
    for state in found:
        slot, task = state.next_run_at, state.task
        if slot is None or task.handler not in known or task.is_paused(slot):
            continue
        if not any(pause.covers(slot) for pause in pauses):
            yield task, slot


def began_in_time(alerts: Collection[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of missed and late slots after whose slot another one began in time."""
    return [alert for alert in alerts if later_slot_began(alert, using=using)]


def later_slot_began(alert: Alert, *, using: str) -> bool:
    """Whether a slot after that of an alert began in time."""
    if alert.task is None:
        return False
    late = datetime.fromisoformat(alert.details["slot"])
    within = app_settings.MISFIRE_THRESHOLD
    if alert.condition == Condition.NOT_STARTED:
        within = threshold(Condition.NOT_STARTED, "start_within", alert.task) or within
    newer = Execution.objects.using(using).filter(
        task=alert.task, slot__gt=late, trigger__in=OF_SLOTS, attempt__gt=0
    )
    rows = list(
        newer.order_by("-slot").values_list("pk", "attempt", "run_after", "slot", "claimed_at")[
            :MAX_SLOTS_READ
        ]
    )
    retried = [pk for pk, attempt, *_ in rows if attempt > 1]
    first = Attempt.objects.using(using).filter(execution__in=retried, number=1)
    begun = dict(first.values_list("execution", "claimed_at"))
    limit = timedelta(seconds=within)
    for pk, attempt, run_after, slot, claimed_at in rows:
        # A retry has moved ``run_after``; the first attempt was due at the slot, or soon after.
        due, claimed = (run_after, claimed_at) if attempt == 1 else (slot, begun.get(pk))
        if claimed is not None and due is not None and claimed - due <= limit:
            return True
    return False
