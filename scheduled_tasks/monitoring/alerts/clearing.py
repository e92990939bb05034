"""What clears alerts that do not clear by themselves when a condition is no longer found."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.attempt import AttemptOutcome
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.sql.any_of import AnyOf
from scheduled_tasks.models.sql.windows import chunks
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.alerts.condition_settings import threshold
from scheduled_tasks.monitoring.alerts.routing import is_disabled, is_on
from scheduled_tasks.monitoring.conditions.later_slots import LateSlot, overtaken
from scheduled_tasks.runtime.conditions import OF_TASKS, Condition
from scheduled_tasks.runtime.statuses import Status

#: Why alerts are cleared.
NO_LONGER_SO = "The condition no longer holds."
SUCCEEDED = "The task has succeeded."
LATER_SLOT_IN_TIME = "A later slot began in time."
LATER_RUN_SUCCEEDED = "A later run has succeeded."
NO_DEAD_LETTERS = "Nothing waits to be requeued or resolved."
NO_FURTHER_SLOT = "The schedule has no further slot."
NOT_PARKED = "The task is no longer parked."
#: Tasks that one query is about.
CHUNK_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class ClearingRule:
    """Why alerts of a condition are over, and what finds those that are."""

    condition: str
    because: str
    find: Callable[..., Sequence[Alert]]


def reasons_to_clear(alerts: Sequence[Alert], *, using: str) -> Mapping[str, list[Alert]]:
    """Return the open alerts that are over, by the reason.

    Read the alerts with ``task__state``.
    """
    over: dict[str, list[Alert]] = {}
    left: dict[str, list[Alert]] = {}
    for alert in alerts:
        if reason := reason_of_task(alert):
            over.setdefault(reason, []).append(alert)
        else:
            left.setdefault(alert.condition, []).append(alert)
    for rule in RULES:
        if group := left.get(rule.condition):
            found = rule.find(group, using=using)
            over.setdefault(rule.because, []).extend(found)
            ids = {alert.pk for alert in found}
            left[rule.condition] = [alert for alert in group if alert.pk not in ids]
    return over


def lock_what_is_over(alerts: Collection[Alert], because: str, *, using: str) -> list[Alert]:
    """Lock the alerts that are still over for a reason, within a transaction; return them.

    They were judged by what may have changed since. A run that fails now finds the alert open, and
    raises no other: so it is judged again under the locks that such a run needs. Alerts of tasks
    that another transaction holds are left for the next scan.
    """
    locked = lock_open(alerts, skip=True, using=using)
    if because == NO_LONGER_SO:
        return locked
    return reasons_to_clear(locked, using=using).get(because, [])


def lock_open(alerts: Collection[Alert], *, using: str, skip: bool = False) -> list[Alert]:
    """Lock alerts that are still open, after the states of their tasks; return them as they are.

    With ``skip``, leave out the alerts of tasks whose states other transactions hold.
    """
    tasks = {alert.task_id for alert in alerts if alert.task_id is not None}
    states = TaskState.objects.using(using)
    left = tasks.difference(states.lock_tasks(tasks, skip=skip))
    # A task that a bulk_create made has no state.
    held = set(states.filter(AnyOf("pk", left)).values_list("pk", flat=True)) if left else set()
    free = [alert.pk for alert in alerts if alert.task_id not in held]
    rows = Alert.objects.using(using).open()
    mine = rows.filter(AnyOf("pk", free)).locked().order_by("open_key")
    ids = list(mine.values_list("pk", flat=True))
    # Without a lock: not every database can lock the rows of one table of a join.
    return list(rows.filter(AnyOf("pk", ids)).select_related("task__state").order_by("open_key"))


def reason_of_task(alert: Alert) -> str:
    """Return why an alert is over because of what became of its task; "" if it is not."""
    if alert.condition in OF_TASKS and alert.task is None:
        return "The task was deleted."
    if not is_on(alert.condition, alert.task):
        return "The condition was turned off."
    if is_disabled(alert.condition, alert.task):
        return "The task was disabled."
    return ""


def succeeded(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of tasks whose last run of note was a success."""
    return [
        alert for alert in alerts if (state := state_of(alert)) and not state.consecutive_failures
    ]


def succeeded_since(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of tasks with another success than the last one that was known."""
    return [
        alert
        for alert in alerts
        if (state := state_of(alert))
        and state.last_success_at is not None
        and state.last_success_at.isoformat() != alert.details.get("last")
    ]


def without_further_slot(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of tasks that succeed no more by themselves, and set no limit."""
    return [
        alert
        for alert in alerts
        if alert.task is not None
        and alert.task.no_success_for is None
        and (state := state_of(alert))
        and state.next_run_at is None
    ]


def not_partial(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    return [
        alert
        for alert in alerts
        if (state := state_of(alert)) and state.last_status != Status.PARTIAL
    ]


def not_parked(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    return [alert for alert in alerts if (state := state_of(alert)) and state.parked_at is None]


def state_of(alert: Alert) -> TaskState | None:
    """Return the state of the alert's task; a task that a bulk_create made has none."""
    task: Task | None = alert.task
    return getattr(task, "state", None)


def without_dead_letters(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of tasks whose dead letters are all requeued or resolved."""
    dead = Execution.objects.using(using).dead().order_by()
    with_some: set[int | None] = set()
    for chunk in chunks([alert.task_id for alert in alerts if alert.task_id], CHUNK_SIZE):
        found = dead.filter(AnyOf("task", chunk))
        with_some.update(found.values_list("task_id", flat=True).distinct())
    return [alert for alert in alerts if alert.task_id not in with_some]


def began_in_time(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of missed and late slots after whose slot another one began in time."""
    # Most tasks have decided no later slot yet; that takes no query to see.
    late = [
        LateSlot(alert.task.pk, late_slot_of(alert), seconds_in_time(alert))
        for alert in alerts
        if alert.task is not None
        and (state := state_of(alert))
        and state.last_slot is not None
        and state.last_slot > late_slot_of(alert)
    ]
    began = overtaken(late, using=using)
    return [alert for alert in alerts if alert.task_id in began]


def made_up_at_the_end(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of tasks without a further slot that have succeeded after all."""
    return [
        alert
        for alert in alerts
        if (state := state_of(alert))
        and state.next_run_at is None
        and state.last_success_at is not None
        and state.last_success_at > late_slot_of(alert)
    ]


def late_slot_of(alert: Alert) -> datetime:
    """Return the newest slot that an alert is about."""
    return datetime.fromisoformat(alert.details["slot"])


def seconds_in_time(alert: Alert) -> float:
    """Return within how many seconds a slot of the task begins in time."""
    within = app_settings.MISFIRE_THRESHOLD
    if alert.condition == Condition.NOT_STARTED:
        return threshold(Condition.NOT_STARTED, "start_within", alert.task) or within
    return within


def settled(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of lost workers whose executions have all ended."""
    workers = sorted({worker for alert in alerts for worker in alert.details["workers"]})
    executions = Execution.objects.using(using).order_by()
    held = executions.running().filter(AnyOf("worker", workers)).values_list("worker", flat=True)
    # From the few that have been tried and are unfinished: attempts have no index of workers.
    retried = executions.unfinished().filter(
        AnyOf("attempts__worker", workers),
        attempt__gt=0,
        attempts__outcome__in=(AttemptOutcome.LOST, AttemptOutcome.GIVEN_BACK),
    )
    busy = set(held).union(retried.values_list("attempts__worker", flat=True))
    return [alert for alert in alerts if busy.isdisjoint(alert.details["workers"])]


#: What ends alerts that a scan does not end by finding their condition no more.
RULES = (
    ClearingRule(Condition.FAILED, SUCCEEDED, succeeded),
    ClearingRule(Condition.DEAD_LETTER, NO_DEAD_LETTERS, without_dead_letters),
    ClearingRule(Condition.MISSED, LATER_SLOT_IN_TIME, began_in_time),
    ClearingRule(Condition.MISSED, LATER_RUN_SUCCEEDED, made_up_at_the_end),
    ClearingRule(Condition.NOT_STARTED, LATER_SLOT_IN_TIME, began_in_time),
    ClearingRule(Condition.NOT_STARTED, LATER_RUN_SUCCEEDED, made_up_at_the_end),
    ClearingRule(Condition.NO_SUCCESS, SUCCEEDED, succeeded_since),
    ClearingRule(Condition.NO_SUCCESS, NO_FURTHER_SLOT, without_further_slot),
    ClearingRule(Condition.PARTIAL, "The last run was not partial.", not_partial),
    ClearingRule(Condition.WORKER_LOST, "All its executions have ended.", settled),
    ClearingRule(Condition.PARKED, NOT_PARKED, not_parked),
)
