"""Which conditions raise alerts, how severe they are, and from when on: ``CONDITIONS``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from django.core.signals import setting_changed

from scheduled_tasks.conf import MAX_NUMBER, app_settings
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.mistakes import Mistakes, all_mistakes, nearest, suggestion, unknown
from scheduled_tasks.models.task import Task
from scheduled_tasks.runtime.conditions import NEED_THRESHOLD, SEVERITIES, Condition, Severity

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
    Condition.SERVICE_DOWN: ConditionSettings(on=False, severity=Severity.ERROR),
    Condition.RATE_LIMIT: ConditionSettings(on=False, severity=Severity.WARNING),
    Condition.SUCCESS: ConditionSettings(on=False, severity=Severity.INFO),
}
#: The conditions that the settings turn on and off: each task asks for ``success`` itself.
IN_SETTINGS = tuple(code for code in DEFAULTS if code != Condition.SUCCESS)
#: The policies that turn a condition on for a task that sets them.
TURNED_ON_BY = {**NEED_THRESHOLD, Condition.RUNNING_LONG: "max_runtime"}


@cache
def condition_settings() -> Mapping[str, ConditionSettings]:
    """Return the settings of each condition by code. Raise InvalidSettings with all mistakes."""
    found = dict(DEFAULTS)
    with all_mistakes() as mistakes:
        for code, given in app_settings.CONDITIONS.items():
            with mistakes.collected():
                refuse_unknown(code)
                found[code] = settings_of(code, given, DEFAULTS[code], mistakes)
    return found


def refuse_unknown(code: object) -> None:
    """Raise InvalidSettings for a key of CONDITIONS that the settings cannot turn on or off."""
    if code in IN_SETTINGS:
        return
    if nearest(code, DEFAULTS) == [Condition.SUCCESS]:
        raise InvalidSettings(
            f"SCHEDULED_TASKS['CONDITIONS'] has {code!r}, but only tasks can ask for 'success': "
            "name it in notify_on of each task instead."
        )
    raise unknown("SCHEDULED_TASKS['CONDITIONS']", "condition", code, IN_SETTINGS)


def settings_of(
    code: str, given: Any, known: ConditionSettings, mistakes: Mistakes
) -> ConditionSettings:
    """Return the settings of a condition as they are given. Raise InvalidSettings."""
    where = f"SCHEDULED_TASKS['CONDITIONS'][{str(code)!r}]"
    if isinstance(given, bool):
        changed = replace(known, on=given)
    elif isinstance(given, Mapping):
        changed = settings_from(where, given, known, mistakes)
    else:
        raise InvalidSettings(f"{where} must be True, False or a dictionary, not {given!r}.")
    refuse_without_threshold(where, code, given, changed)
    return changed


def settings_from(
    where: str, given: Mapping[str, Any], known: ConditionSettings, mistakes: Mistakes
) -> ConditionSettings:
    """Return the settings of a condition that is on; what is wrong has its default."""
    severity, thresholds = known.severity, dict(known.thresholds)
    for name, value in given.items():
        with mistakes.collected():
            if name == "severity":
                severity = checked_severity(where, value)
            elif name in thresholds:
                thresholds[name] = checked_threshold(where, name, value, known.thresholds[name])
            else:
                raise unknown(where, "option", name, ("severity", *thresholds))
    return ConditionSettings(on=True, severity=severity, thresholds=thresholds)


def checked_severity(where: str, value: Any) -> str:
    if value in SEVERITIES:
        return str(value)
    said = f"{where}['severity'] must be one of {', '.join(SEVERITIES)}, not {value!r}"
    meant = suggestion(value, SEVERITIES)
    raise InvalidSettings(f"{said}: {meant}" if meant else f"{said}.")


def checked_threshold(where: str, name: str, value: Any, default: int | None) -> int | None:
    """Return a threshold; None is one only where it is the default."""
    if value is default or (type(value) is int and 0 < value <= MAX_NUMBER):
        return value
    raise InvalidSettings(
        f"{where}[{name!r}] must be a whole number from 1 to {MAX_NUMBER}, not {value!r}."
    )


def refuse_without_threshold(where: str, code: str, given: Any, changed: ConditionSettings) -> None:
    """Raise InvalidSettings for a condition that is on for all tasks and has no threshold."""
    name = NEED_THRESHOLD.get(Condition(code))
    stated = given if isinstance(given, Mapping) else {}
    if changed.on and name and stated.get(name, changed.thresholds[name]) is None:
        raise InvalidSettings(
            f"{where} needs a threshold for tasks that set none: write {{{name!r}: 3600}}, in "
            "seconds."
        )


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
