"""The rules of ``ALERTS``: which alerts go to which notifiers."""

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
from scheduled_tasks.mistakes import Mistakes, advice, all_mistakes, unknown
from scheduled_tasks.models.task import Task
from scheduled_tasks.monitoring.alerts.quiet_hours import QuietHours
from scheduled_tasks.runtime.conditions import OF_TASKS, Condition, Severity

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


@cache
def rules() -> tuple[Rule, ...]:
    """Return the rules of ``ALERTS``, or the one that tells everybody.

    Raise InvalidSettings with all mistakes.
    """
    if not app_settings.ALERTS:
        return (Rule(to=tuple(app_settings.NOTIFIERS)),)
    found = []
    with all_mistakes() as mistakes:
        for number, given in enumerate(app_settings.ALERTS):
            where = f"SCHEDULED_TASKS['ALERTS'][{number}]"
            with mistakes.collected():
                found.append(rule_of(given, where=where))
    return tuple(found)


def rule_of(given: Mapping[str, Any], *, where: str) -> Rule:
    """Return a rule as it is given. Raise InvalidSettings with all mistakes."""
    values: dict[str, Any] = {"to": tuple(app_settings.NOTIFIERS)}
    with all_mistakes() as mistakes:
        for name, value in given.items():
            with mistakes.collected():
                if name not in READERS:
                    raise unknown(where, "key", name, READERS)
                values[name] = READERS[name](value, f"{where}[{name!r}]")
        rule = Rule(**values)
        refuse_unmatchable(rule, where, mistakes)
    return rule


def refuse_unmatchable(rule: Rule, where: str, mistakes: Mistakes) -> None:
    """Refuse conditions that no alert of the rule can have, because of its other keys."""
    for code in sorted(rule.conditions or ()):
        if code not in OF_TASKS and not rule.concerns(None):
            mistakes.add(
                f"{where} names {code!r}, whose alerts belong to no task: give it a rule without "
                "tasks and categories."
            )
        # The severity of a success is always INFO, and that of nothing else.
        possible = {Severity.INFO} if code == Condition.SUCCESS else {*Severity} - {Severity.INFO}
        if rule.severities is not None and possible.isdisjoint(rule.severities):
            mistakes.add(
                f"{where} names {code!r}, whose severity is {' or '.join(sorted(possible))}: "
                "add it to severities, or leave severities out."
            )


def names(value: object, where: str) -> Iterator[str]:
    """Yield the names of a list, or the one name that is given without a list."""
    given = [value] if isinstance(value, str) or not isinstance(value, Collection) else [*value]
    if not given:
        raise InvalidSettings(f"{where} is empty: leave it out for all, or name at least one.")
    for each in given:
        if not isinstance(each, str):
            raise InvalidSettings(f"{where} must be a name or a list of names, not {value!r}.")
        yield each


def known(noun: str, choices: Callable[[], Collection[str]]) -> Callable[[object, str], list[str]]:
    """Return a reader of lists of names that refuses unknown ones."""

    def read(value: object, where: str) -> list[str]:
        given = list(names(value, where))
        with all_mistakes() as mistakes:
            for name in given:
                if name not in choices():
                    said = f"{where} names {name!r}, which is not a {noun}"
                    mistakes.add(f"{said}: {advice(name, choices())}")
        return given

    return read


def read_interval(value: object, where: str) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if type(seconds) in (int, float) and MIN_REMINDER_SECONDS <= seconds <= MAX_NUMBER:  # type: ignore[operator]
        return timedelta(seconds=seconds)  # type: ignore[arg-type]
    raise InvalidSettings(
        f"{where} must be a number of seconds, at least {MIN_REMINDER_SECONDS}, not {value!r}."
    )


read_conditions = known("condition", lambda: Condition.values)
read_severities = known("severity", lambda: Severity.values)
read_notifiers = known("notifier", lambda: app_settings.NOTIFIERS)
#: The keys of a rule, with what reads and checks their values.
READERS: Mapping[str, Callable[[Any, str], Any]] = {
    "conditions": lambda value, where: frozenset(read_conditions(value, where)),
    "severities": lambda value, where: frozenset(read_severities(value, where)),
    "tasks": lambda value, where: tuple(names(value, where)),
    "categories": lambda value, where: frozenset(names(value, where)),
    "to": lambda value, where: tuple(read_notifiers(value, where)),
    "remind_every": read_interval,
    "quiet_hours": lambda value, where: QuietHours.parse(value, where=where),
}


def reset(*, setting: str, **_: Any) -> None:
    if setting == "SCHEDULED_TASKS":
        rules.cache_clear()


setting_changed.connect(reset, dispatch_uid="scheduled_tasks.monitoring.alerts.rules")
