"""Who is told of an alert, how often again, and when not; and which conditions are on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.condition_settings import TURNED_ON_BY, condition_settings
from scheduled_tasks.monitoring.alerts.quiet_hours import QuietHours
from scheduled_tasks.monitoring.alerts.rules import rules
from scheduled_tasks.runtime.conditions import OF_DISABLED_TASKS, Condition


@dataclass(frozen=True, slots=True)
class Route:
    """A notifier that is told of an alert, how often again, and when not."""

    notifier: str
    remind_every: timedelta | None = None
    quiet_hours: QuietHours | None = None


def routes(condition: str, severity: str, task: Task | None) -> list[Route]:
    """Return to whom an alert goes: each notifier once, by the first rule that names it."""
    found: dict[str, Route] = {}
    for rule in rules():
        if rule.matches(condition, severity, task):
            for name in rule.to:
                found.setdefault(name, Route(name, rule.remind_every, rule.quiet_hours))
    if task is None or task.remind_every is None:
        return list(found.values())
    every = timedelta(seconds=task.remind_every)
    return [Route(route.notifier, every, route.quiet_hours) for route in found.values()]


def is_on(condition: str, task: Task | None) -> bool:
    """Whether a condition raises alerts, of this task or of no task.

    A task's own list decides. Without one, the condition is on in the settings, or because the task
    sets its threshold, or because a rule for the task names it. A success is on only by the list.
    """
    if task is not None and task.notify_on is not None:
        return condition in task.notify_on
    own = TURNED_ON_BY.get(condition)  # type: ignore[call-overload]
    if task is not None and own and getattr(task, own) is not None:
        return True
    if condition == Condition.SUCCESS:
        return False
    if condition in app_settings.CONDITIONS:
        return condition_settings()[condition].on
    return condition_settings()[condition].on or any(
        condition in (rule.conditions or ()) and rule.concerns(task) for rule in rules()
    )


def is_disabled(condition: str, task: Task | None) -> bool:
    """Whether a condition is about tasks that should run, and this one is disabled."""
    return task is not None and not task.enabled and condition not in OF_DISABLED_TASKS
