"""The tasks that a condition may be raised for, as filters, and what alerts read of tasks.

``routing.is_on`` decides. The filters save asking it about every task, and may keep too many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.db.models import Exists, OuterRef, Q

from scheduled_tasks.conf import app_settings
from scheduled_tasks.models.alert import Alert
from scheduled_tasks.monitoring.alerts.condition_settings import TURNED_ON_BY, condition_settings
from scheduled_tasks.monitoring.alerts.rules import Rule, rules

#: Tasks that are found at a time, where tasks with an open alert are left out: after a long outage
#: it may be each task, and the next scans find the rest.
MAX_FINDINGS = 1_000
#: Rows that one query reads.
PAGE_SIZE = 1_000
#: The columns of a task by which alerts are raised, cleared and sent.
READ_OF_TASK = (
    "name",
    "category",
    "metadata",
    "enabled",
    "paused_until",
    "notify_on",
    "severity",
    "remind_every",
    "alert_after_failures",
    "start_within",
    "no_success_for",
    "max_runtime",
)
#: What a pattern of names begins with, before its first wildcard.
BEFORE_WILDCARDS = re.compile(r"[^*?\[]*")


def columns_of_task(*more: str) -> tuple[str, ...]:
    """Return these columns and READ_OF_TASK for ``only()``, as a relation names them."""
    return tuple(f"task__{name}" for name in (*READ_OF_TASK, *more))


def has_alert(condition: str, task: str, *, using: str) -> Exists:
    """Return whether a task has an open alert of a condition; ``task`` names the column."""
    alerts = Alert.objects.using(using).open().filter(condition=condition, task=OuterRef(task))
    return Exists(alerts)


def may_be_on(condition: str, *, task: str = "task__") -> Q:
    """Return a filter that keeps every task for which a condition is on, and few others.

    ``task`` is the path to the task; "" for a queryset of tasks.
    """
    listed = Q(**{f"{task}notify_on__icontains": f'"{condition}"'})
    without_list = Q(**{f"{task}notify_on__isnull": True})
    return listed | without_list & on_without_list(condition, task)


def on_without_list(condition: str, task: str) -> Q:
    """Return a filter for the tasks without ``notify_on`` for which a condition is on."""
    if condition_settings()[condition].on:
        return Q()
    # OR with no condition at all would keep every row.
    found = Q(**{f"{task}pk__in": []})
    if own := TURNED_ON_BY.get(condition):  # type: ignore[call-overload]
        found |= Q(**{f"{task}{own}__isnull": False})
    if condition in app_settings.CONDITIONS:
        return found
    for rule in rules():
        if condition in (rule.conditions or ()):
            if rule.tasks is None and rule.categories is None:
                return Q()
            for each in named_by(rule, task):
                found |= each
    return found


def named_by(rule: Rule, task: str) -> Iterator[Q]:
    """Yield filters for the tasks that a rule may name."""
    yield Q(**{f"{task}category__in": sorted(rule.categories or ())})
    for pattern in rule.tasks or ():
        found = BEFORE_WILDCARDS.match(pattern)
        yield Q(**{f"{task}name__startswith": found[0] if found else ""})
