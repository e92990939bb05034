"""What clears alerts that do not clear by themselves when a condition is no longer found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from scheduled_tasks.models.alert import Alert
from scheduled_tasks.models.attempt import Attempt, AttemptOutcome
from scheduled_tasks.models.execution import Execution
from scheduled_tasks.models.task import Task
from scheduled_tasks.models.task_state import TaskState
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.monitoring.conditions.late_slots import began_in_time
from scheduled_tasks.runtime.conditions import OF_TASKS, Condition
from scheduled_tasks.runtime.statuses import UNFINISHED, Status

#: Conditions that stay while a task is disabled: its run goes on, its dead letters wait.
SURVIVE_DISABLING = (Condition.DEAD_LETTER, Condition.RUNNING_LONG)


def reasons_to_clear(alerts: Sequence[Alert], *, using: str) -> Mapping[str, list[Alert]]:
    """Return the open alerts that are over, by the reason."""
    over: dict[str, list[Alert]] = {}
    left: dict[str, list[Alert]] = {}
    for alert in alerts:
        if reason := reason_of_task(alert):
            over.setdefault(reason, []).append(alert)
        else:
            left.setdefault(alert.condition, []).append(alert)
    for condition, group in left.items():
        if rule := RULES.get(Condition(condition)):
            because, find = rule
            if found := find(group, using=using):
                over[because] = [*over.get(because, []), *found]
    return over


def reason_of_task(alert: Alert) -> str:
    """Return why an alert is over because of what became of its task; "" if it is not."""
    if alert.condition in OF_TASKS and alert.task is None:
        return "The task was deleted."
    if not is_on(alert.condition, alert.task):
        return "The condition was turned off."
    if alert.task and not alert.task.enabled and alert.condition not in SURVIVE_DISABLING:
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
    tasks = [alert.task_id for alert in alerts]
    dead = Execution.objects.using(using).dead().filter(task__in=tasks).order_by()
    with_some = set(dead.values_list("task_id", flat=True).distinct())
    return [alert for alert in alerts if alert.task_id not in with_some]


def settled(alerts: Sequence[Alert], *, using: str) -> list[Alert]:
    """Return the alerts of lost workers whose executions have all ended."""
    workers = {alert.details["worker"] for alert in alerts}
    executions = Execution.objects.using(using).order_by()
    held = executions.running().filter(worker__in=workers).values_list("worker", flat=True)
    retried = Attempt.objects.using(using).filter(
        worker__in=workers,
        outcome__in=(AttemptOutcome.LOST, AttemptOutcome.GIVEN_BACK),
        execution__status__in=UNFINISHED,
    )
    busy = set(held).union(retried.order_by().values_list("worker", flat=True))
    return [alert for alert in alerts if alert.details["worker"] not in busy]


#: For each condition with a rule of its own, why an alert is over, and what finds those.
RULES: Mapping[Condition, tuple[str, Callable[..., list[Alert]]]] = {
    Condition.FAILED: ("The task has succeeded.", succeeded),
    Condition.DEAD_LETTER: ("Nothing waits to be requeued or resolved.", without_dead_letters),
    Condition.MISSED: ("A later slot began in time.", began_in_time),
    Condition.NOT_STARTED: ("A later slot began in time.", began_in_time),
    Condition.NO_SUCCESS: ("The task has succeeded.", succeeded_since),
    Condition.PARTIAL: ("The last run was not partial.", not_partial),
    Condition.WORKER_LOST: ("All its executions have ended.", settled),
    Condition.PARKED: ("The task is no longer parked.", not_parked),
}
