"""Which conditions raise alerts, how severe they are, and from when on: ``CONDITIONS``."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from scheduled_tasks.conf import MAX_NUMBER, app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models.task import Task
from scheduled_tasks.runtime.conditions import SEVERITIES, Condition, Severity

#: In seconds: how late the scheduler may be.
BEHIND_SECONDS = 60


@dataclass(frozen=True, slots=True)
class ConditionSettings:
    """Whether a condition is on by default, its severity, and its thresholds by name."""

    on: bool
    severity: str
    thresholds: Mapping[str, int | None] = field(default_factory=dict)


#: A threshold has the name of the policy with which a task sets its own, if there is one.
DEFAULTS: Mapping[str, ConditionSettings] = {
    Condition.FAILED: ConditionSettings(
        on=True, severity=Severity.ERROR, thresholds={"alert_after_failures": 1}
    ),
    Condition.DEAD_LETTER: ConditionSettings(on=True, severity=Severity.ERROR),
    Condition.MISSED: ConditionSettings(on=True, severity=Severity.ERROR),
    Condition.NOT_STARTED: ConditionSettings(
        on=False, severity=Severity.WARNING, thresholds={"start_within": None}
    ),
    Condition.NO_SUCCESS: ConditionSettings(
        on=False, severity=Severity.ERROR, thresholds={"no_success_for": None}
    ),
    Condition.RUNNING_LONG: ConditionSettings(
        on=False, severity=Severity.WARNING, thresholds={"max_runtime": None}
    ),
    Condition.TOO_FAST: ConditionSettings(on=False, severity=Severity.WARNING),
    Condition.PARTIAL: ConditionSettings(on=False, severity=Severity.WARNING),
    Condition.OVER_INTERVAL: ConditionSettings(on=False, severity=Severity.WARNING),
    Condition.WORKER_LOST: ConditionSettings(on=True, severity=Severity.ERROR),
    Condition.TOO_FEW_WORKERS: ConditionSettings(
        on=False, severity=Severity.CRITICAL, thresholds={"workers": 1}
    ),
    Condition.SCHEDULER_BEHIND: ConditionSettings(
        on=True, severity=Severity.CRITICAL, thresholds={"behind": BEHIND_SECONDS}
    ),
    Condition.PARKED: ConditionSettings(on=True, severity=Severity.ERROR),
    Condition.INVARIANT: ConditionSettings(on=True, severity=Severity.CRITICAL),
    Condition.SERVICE_DOWN: ConditionSettings(on=True, severity=Severity.ERROR),
    Condition.RATE_LIMIT: ConditionSettings(on=False, severity=Severity.WARNING),
    Condition.SUCCESS: ConditionSettings(on=False, severity=Severity.INFO),
}
#: Conditions that make no sense without a threshold, of the task or of the settings.
NEED_THRESHOLD = {
    Condition.NOT_STARTED: "start_within",
    Condition.NO_SUCCESS: "no_success_for",
}
#: The policies that turn a condition on for a task that sets them.
TURNED_ON_BY = {**NEED_THRESHOLD, Condition.RUNNING_LONG: "max_runtime"}


@cache
def condition_settings() -> Mapping[str, ConditionSettings]:
    """Return the settings of each condition by code. Raise InvalidSettings."""
    given = app_settings.CONDITIONS
    for code in given:
        if code not in DEFAULTS:
            raise unknown("SCHEDULED_TASKS['CONDITIONS']", "condition", code, DEFAULTS)
    return {code: settings_of(code, given.get(code), known) for code, known in DEFAULTS.items()}


def settings_of(code: str, given: Any, known: ConditionSettings) -> ConditionSettings:
    """Return the settings of a condition: as given, or the default. Raise InvalidSettings."""
    where = f"SCHEDULED_TASKS['CONDITIONS'][{str(code)!r}]"
    match given:
        case None:
            return known
        case bool():
            refuse_without_threshold(where, code, on=given, thresholds=known.thresholds)
            return replace(known, on=given)
        case dict():
            return settings_from(where, code, given, known)
    raise InvalidSettings(f"{where} must be True, False or a dictionary, not {given!r}.")


def settings_from(
    where: str, code: str, given: Mapping[str, Any], known: ConditionSettings
) -> ConditionSettings:
    options = ("severity", *known.thresholds)
    for name in given:
        if name not in options:
            raise unknown(where, "option", name, options)
    severity = given.get("severity", known.severity)
    if severity not in SEVERITIES:
        raise unknown(f"{where}['severity']", "severity", severity, SEVERITIES)
    thresholds = {**known.thresholds, **{k: v for k, v in given.items() if k != "severity"}}
    for name, value in thresholds.items():
        if value is not None and not (type(value) is int and 0 < value <= MAX_NUMBER):
            raise InvalidSettings(
                f"{where}[{name!r}] must be a whole number from 1 to {MAX_NUMBER}, not {value!r}."
            )
    refuse_without_threshold(where, code, on=True, thresholds=thresholds)
    return ConditionSettings(on=True, severity=severity, thresholds=thresholds)


def refuse_without_threshold(
    where: str, code: str, *, on: bool, thresholds: Mapping[str, int | None]
) -> None:
    """Raise InvalidSettings for a condition that is on for all tasks and has no threshold."""
    name = NEED_THRESHOLD.get(Condition(code))
    if on and name and thresholds[name] is None:
        raise InvalidSettings(
            f"{where} needs a threshold for tasks that set none: write {{{name!r}: 3600}}, in "
            "seconds."
        )


def unknown(where: str, what: str, name: object, known: Collection[str]) -> InvalidSettings:
    """Return an error for a name that is not known, with the one that was probably meant."""
    names = [str(each) for each in known]
    near = difflib.get_close_matches(str(name), names, n=1)
    advice = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}."
    return InvalidSettings(f"{where} has no {what} {name!r}: {advice}")


def threshold(code: str, name: str, task: Task | None = None) -> int | None:
    """Return a threshold: that of the task if it sets one, else that of the settings."""
    own: int | None = getattr(task, name) if task is not None else None
    return condition_settings()[code].thresholds[name] if own is None else own


def severity_of(code: str, task: Task | None) -> str:
    """Return the severity of alerts of a condition, perhaps set by the task."""
    if task is not None and task.severity and code != Condition.SUCCESS:
        return task.severity
    return condition_settings()[code].severity


def reset(*, setting: str, **_: Any) -> None:
    if setting == "SCHEDULED_TASKS":
        condition_settings.cache_clear()


setting_changed.connect(reset, dispatch_uid="scheduled_tasks.monitoring.alerts.condition_settings")
