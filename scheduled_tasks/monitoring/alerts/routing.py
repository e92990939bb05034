"""Who is told of an alert, how often again, and when not: the rules of ``ALERTS``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from scheduled_tasks.conf import MAX_NUMBER, app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.condition_settings import (
    DEFAULTS,
    TURNED_ON_BY,
    condition_settings,
    unknown,
)
from scheduled_tasks.monitoring.alerts.quiet_hours import QuietHours
from scheduled_tasks.runtime.conditions import Severity

#: The shortest time between two reminders, in seconds.
MIN_REMINDER_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of ``ALERTS``. None stands for all: conditions, severities, tasks, categories."""

    conditions: frozenset[str] | None = None
    severities: frozenset[str] | None = None
    tasks: tuple[str, ...] | None = None
    categories: frozenset[str] | None = None
    to: tuple[str, ...]
    remind_every: timedelta | None = None
    quiet_hours: QuietHours | None = None

    def concerns(self, task: Task | None) -> bool:
        """Whether it is for alerts of this task; with None, for those of no task."""
        if self.tasks is None and self.categories is None:
            return True
        if task is None:
            return False
        named = any(fnmatchcase(task.name, pattern) for pattern in self.tasks or ())
        return named or task.category in (self.categories or ())

    def matches(self, condition: str, severity: str, task: Task | None) -> bool:
        """Whether an alert goes to the notifiers of this rule."""
        return (
            (self.conditions is None or condition in self.conditions)
            and (self.severities is None or severity in self.severities)
            and self.concerns(task)
        )


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
    sets its threshold, or because a rule for the task names it.
    """
    if task is not None and task.notify_on is not None:
        return condition in task.notify_on
    own = TURNED_ON_BY.get(condition)  # type: ignore[call-overload]
    if task is not None and own and getattr(task, own) is not None:
        return True
    if condition in app_settings.CONDITIONS:
        return condition_settings()[condition].on
    return condition_settings()[condition].on or any(
        condition in (rule.conditions or ()) and rule.concerns(task) for rule in rules()
    )


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules of ``ALERTS``, or the one that tells everybody. Raise InvalidSettings."""
    if not app_settings.ALERTS:
        return (Rule(to=tuple(app_settings.NOTIFIERS)),)
    return tuple(
        rule_of(given, where=f"SCHEDULED_TASKS['ALERTS'][{number}]")
        for number, given in enumerate(app_settings.ALERTS)
    )


def rule_of(given: Mapping[str, Any], *, where: str) -> Rule:
    """Return a rule as it is given. Raise InvalidSettings."""
    for name in given:
        if name not in READERS:
            raise unknown(where, "key", name, READERS)
    values = {name: READERS[name](value, f"{where}[{name!r}]") for name, value in given.items()}
    return Rule(**{"to": tuple(app_settings.NOTIFIERS), **values})


def texts(value: object, where: str) -> Iterator[str]:
    """Yield the names of a list, or the one name that is given without a list."""
    each: object
    for each in [value] if not isinstance(value, Collection) or isinstance(value, str) else value:
        if not isinstance(each, str):
            raise InvalidSettings(f"{where} must be a name or a list of names, not {value!r}.")
        yield each


def known(what: str, names: Callable[[], Collection[str]]) -> Callable[[object, str], list[str]]:
    """Return a reader of lists of names that refuses unknown ones."""

    def read(value: object, where: str) -> list[str]:
        given = list(texts(value, where))
        for name in given:
            if name not in names():
                raise unknown(where, what, name, names())
        return given

    return read


def read_interval(value: object, where: str) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if type(seconds) in (int, float) and MIN_REMINDER_SECONDS <= seconds <= MAX_NUMBER:  # type: ignore[operator]
        return timedelta(seconds=seconds)  # type: ignore[arg-type]
    raise InvalidSettings(
        f"{where} must be a number of seconds, at least {MIN_REMINDER_SECONDS}, not {value!r}."
    )


read_conditions = known("condition", lambda: DEFAULTS)
read_severities = known("severity", lambda: Severity.values)
read_notifiers = known("notifier", lambda: app_settings.NOTIFIERS)
#: The keys of a rule, with what reads and checks their values.
READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "conditions": lambda value, where: frozenset(read_conditions(value, where)),
    "severities": lambda value, where: frozenset(read_severities(value, where)),
    "tasks": lambda value, where: tuple(texts(value, where)),
    "categories": lambda value, where: frozenset(texts(value, where)),
    "to": lambda value, where: tuple(read_notifiers(value, where)),
    "remind_every": read_interval,
    "quiet_hours": lambda value, where: QuietHours.parse(value, where=where),
}


def reset(*, setting: str, **_: Any) -> None:
    if setting == "SCHEDULED_TASKS":
        rules.cache_clear()


setting_changed.connect(reset, dispatch_uid="scheduled_tasks.monitoring.alerts.routing")
