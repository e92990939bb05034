"""The filter for the tasks that a condition may be on for, compared with what decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scheduled_tasks.models import Task, TaskState
from scheduled_tasks.monitoring.alerts.concerned import may_be_on
from scheduled_tasks.monitoring.alerts.routing import is_on
from scheduled_tasks.runtime.conditions import OF_TASKS, Condition
from tests.support.attempts import NOTHING

Make = Callable[..., Task]
CONDITIONS = [str(condition) for condition in OF_TASKS if condition != Condition.SUCCESS]

pytestmark = [pytest.mark.usefixtures("nothing"), pytest.mark.any_database]

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "turned off": {"CONDITIONS": dict.fromkeys(CONDITIONS, False)},
    "turned on": {"CONDITIONS": {"too_fast": True, "partial": True}},
    "a rule for all": {"ALERTS": [{"conditions": CONDITIONS}]},
    "rules for some": {
        "ALERTS": [
            {"conditions": CONDITIONS, "tasks": ["nightly-*", "?eekly", "a_b", "[x]"]},
            {"conditions": ["too_fast"], "categories": ["finance"]},
            {"conditions": ["worker_lost"]},
        ]
    },
}


@pytest.fixture
def tasks(make_task: Make) -> None:
    """Make tasks that set what decides whether a condition is on."""
    make_task("plain", NOTHING)
    make_task("none", NOTHING, notify_on=[])
    make_task("some", NOTHING, notify_on=["partial", "running_long"])
    make_task("limits", NOTHING, start_within=1, no_success_for=1, max_runtime=1)
    make_task("money", NOTHING, category="finance")
    for name in ("nightly-report", "weekly", "a_b", "aab", "x"):
        make_task(name, NOTHING)


def kept(condition: str) -> set[str]:
    rows = Task.objects.filter(may_be_on(condition, task=""))
    by_state = TaskState.objects.filter(may_be_on(condition)).values_list("task__name", flat=True)
    names = set(rows.values_list("name", flat=True))
    assert names == set(by_state)
    return names


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("given", SETTINGS)
def test_it_keeps_what_is_on(tasks: None, settings: Any, given: str, condition: str) -> None:
    settings.SCHEDULED_TASKS = SETTINGS[given]
    on = {task.name for task in Task.objects.all() if is_on(condition, task)}
    # A pattern that begins with a wildcard may name any task.
    begins_so = {"rules for some"}
    assert kept(condition) >= on if given in begins_so else kept(condition) == on


def test_names_are_narrowed_to_their_beginning(tasks: None, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"ALERTS": [{"conditions": ["too_fast"], "tasks": ["nightly-*"]}]}
    assert kept("too_fast") == {"nightly-report"}
