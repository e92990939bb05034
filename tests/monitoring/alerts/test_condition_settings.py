"""CONDITIONS and ALERTS: what they turn on, whom they tell, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings

from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models import Task
from scheduled_tasks.monitoring.alerts.condition_settings import (
    DEFAULTS,
    condition_settings,
    severity_of,
    threshold,
)
from scheduled_tasks.monitoring.alerts.routing import is_on, routes
from scheduled_tasks.monitoring.alerts.rules import rules
from scheduled_tasks.runtime.conditions import OF_TASKS, Condition

pytestmark = pytest.mark.without_database

TASK = Task(name="report", category="finance")
TO_OPS = {"NOTIFIERS": {"ops": {"BACKEND": "a.B"}, "boss": {"BACKEND": "a.B"}}}


@contextmanager
def given(**keys: Any) -> Iterator[None]:
    with override_settings(SCHEDULED_TASKS={**TO_OPS, **keys}):
        yield


def told(condition: str, severity: str = "error", task: Task | None = TASK) -> list[str]:
    return [route.notifier for route in routes(condition, severity, task)]


def refusal(**keys: Any) -> str:
    with given(**keys), pytest.raises(InvalidSettings) as refused:
        read_settings()
    return str(refused.value)


def read_settings() -> None:
    condition_settings()
    rules()


def test_every_condition_has_its_defaults() -> None:
    assert set(DEFAULTS) == set(Condition)
    on = {code for code, known in DEFAULTS.items() if known.on}
    assert on == {
        "failed",
        "dead_letter",
        "missed",
        "worker_lost",
        "parked",
        "scheduler_behind",
        "invariant",
    }


def test_the_settings_turn_conditions_on_and_off() -> None:
    with given(CONDITIONS={"partial": True, "failed": False}):
        assert is_on("partial", TASK)
        assert not is_on("failed", TASK)
        assert is_on("missed", TASK)


def test_a_dictionary_sets_severity_and_threshold() -> None:
    changed = {"severity": "critical", "alert_after_failures": 3}
    with given(CONDITIONS={"failed": changed}):
        assert severity_of("failed", TASK) == "critical"
        assert threshold("failed", "alert_after_failures", TASK) == 3
        own = Task(severity="warning", alert_after_failures=5)
        assert severity_of("failed", own) == "warning"
        assert threshold("failed", "alert_after_failures", own) == 5


def test_the_list_of_a_task_decides_alone() -> None:
    with given():
        assert is_on("success", Task(notify_on=["success"]))
        assert not is_on("failed", Task(notify_on=["success"]))
        assert not any(is_on(code, Task(notify_on=[])) for code in OF_TASKS)


def test_the_threshold_of_a_task_turns_it_on() -> None:
    with given():
        assert is_on("not_started", Task(start_within=60))
        assert is_on("no_success", Task(no_success_for=60))
        assert is_on("running_long", Task(max_runtime=60))
        assert not any(
            is_on(code, TASK) for code in ("not_started", "no_success", "running_long", "success")
        )


def test_a_rule_turns_its_conditions_on() -> None:
    rule = {"conditions": ["partial"], "tasks": ["rep*"], "to": "ops"}
    with given(ALERTS=[rule]):
        assert is_on("partial", TASK)
        assert not is_on("partial", Task(name="other"))
    with given(ALERTS=[rule], CONDITIONS={"partial": False}):
        assert not is_on("partial", TASK)


def test_a_rule_turns_no_success_on() -> None:
    with given(ALERTS=[{"conditions": ["success"], "to": "boss"}]):
        assert not is_on("success", TASK)
        assert told("success", "info", Task(notify_on=["success"])) == ["boss"]


def test_a_threshold_that_may_be_none() -> None:
    with given(CONDITIONS={"running_long": {"max_runtime": None}}):
        assert is_on("running_long", TASK)
        assert threshold("running_long", "max_runtime", TASK) is None


def mistakes(**keys: Any) -> tuple[str, ...]:
    with given(**keys), pytest.raises(InvalidSettings) as refused:
        read_settings()
    return refused.value.mistakes


def test_all_mistakes_are_said() -> None:
    wrong = {"sevrity": "error", "alert_after_failures": 0}
    said = mistakes(CONDITIONS={"mised": True, "failed": wrong})
    assert [sentence[:50] for sentence in said] == [
        "SCHEDULED_TASKS['CONDITIONS'] has no condition 'mi",
        "SCHEDULED_TASKS['CONDITIONS']['failed'] has no opt",
        "SCHEDULED_TASKS['CONDITIONS']['failed']['alert_aft",
    ]
    rules = [{"to": ["opps", "bos"], "tasks": []}, {"conditions": "mised"}]
    assert len(mistakes(ALERTS=rules)) == 4


def test_a_wrong_threshold_is_one_mistake() -> None:
    assert len(mistakes(CONDITIONS={"no_success": {"no_success_for": "x"}})) == 1


def test_without_rules_everybody_is_told() -> None:
    with given():
        assert told("failed") == told("worker_lost", task=None) == ["ops", "boss"]
    with override_settings(SCHEDULED_TASKS={}):
        assert told("failed") == []


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, True),
        ({"conditions": "failed"}, True),
        ({"conditions": ["missed"]}, False),
        ({"severities": ["error", "critical"]}, True),
        ({"severities": ["critical"]}, False),
        ({"tasks": ["report"]}, True),
        ({"tasks": ["re?ort", "x"]}, True),
        ({"tasks": ["other"]}, False),
        ({"categories": ["finance"]}, True),
        ({"categories": [""]}, False),
        ({"categories": ["mail"]}, False),
        ({"tasks": ["other"], "categories": ["finance"]}, True),
    ],
)
def test_a_rule_concerns_what_it_names(rule: dict[str, Any], *, expected: bool) -> None:
    with given(ALERTS=[{**rule, "to": ["ops"]}]):
        assert told("failed") == (["ops"] if expected else [])


def test_rules_for_tasks_are_for_no_worker() -> None:
    with given(ALERTS=[{"tasks": ["*"], "to": "ops"}, {"severities": ["error"], "to": "boss"}]):
        assert told("worker_lost", task=None) == ["boss"]


def test_each_notifier_is_told_once() -> None:
    rules = [
        {"severities": ["error"], "remind_every": timedelta(hours=1)},
        {"to": ["ops"], "remind_every": 7200},
    ]
    with given(ALERTS=rules):
        found = {route.notifier: route.remind_every for route in routes("failed", "error", TASK)}
        own = routes("failed", "error", Task(name="own", remind_every=90))
    assert found == {"ops": timedelta(hours=1), "boss": timedelta(hours=1)}
    assert {route.remind_every for route in own} == {timedelta(seconds=90)}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"CONDITIONS": {"faild": True}}, "has no condition 'faild': did you mean 'failed'?"),
        ({"CONDITIONS": {"zzz": True}}, "has no condition 'zzz': use one of failed, dead_"),
        ({"CONDITIONS": {"failed": 3}}, "['failed'] must be True, False or a dictionary, not 3"),
        ({"CONDITIONS": {"failed": {"afer": 3}}}, "['failed'] has no option 'afer'"),
        ({"CONDITIONS": {"failed": {"severity": "eror"}}}, "not 'eror': did you mean 'error'?"),
        ({"CONDITIONS": {"failed": {"severity": []}}}, "one of warning, error, critical, not []."),
        ({"CONDITIONS": {"failed": {"alert_after_failures": 0}}}, "a whole number from 1"),
        ({"CONDITIONS": {"failed": {"alert_after_failures": True}}}, "a whole number from 1"),
        ({"CONDITIONS": {"no_success": True}}, "write {'no_success_for': 3600}, in seconds"),
        ({"CONDITIONS": {"not_started": {}}}, "write {'start_within': 3600}"),
        ({"ALERTS": [{"too": "ops"}]}, "['ALERTS'][0] has no key 'too': did you mean 'to'?"),
        ({"ALERTS": [{}, {"to": "opps"}]}, "[1]['to'] names 'opps', which is not a"),
        ({"ALERTS": [{"to": [1]}]}, "must be a name or a list of names, not [1]"),
        ({"ALERTS": [{"to": None}]}, "must be a name or a list of names, not None"),
        ({"ALERTS": [{"conditions": ["mised"]}]}, "did you mean 'missed'?"),
        ({"ALERTS": [{"severities": "fatal"}]}, "names 'fatal', which is not a severity: use one"),
        ({"ALERTS": [{"to": "OPS"}]}, "which is not a notifier: did you mean 'ops'?"),
        ({"ALERTS": [{"to": []}]}, "['to'] is empty: leave it out for all, or name at least one."),
        ({"ALERTS": [{"conditions": []}]}, "['conditions'] is empty"),
        ({"ALERTS": [{"tasks": ()}]}, "['tasks'] is empty"),
        ({"ALERTS": [{"to": "ops"}], "NOTIFIERS": {}}, "is not a notifier: there are none."),
        (
            {"ALERTS": [{"conditions": ["worker_lost", "failed"], "tasks": ["*"]}]},
            "[0] names 'worker_lost', whose alerts belong to no task: give it a rule without",
        ),
        (
            {"ALERTS": [{"conditions": "success", "severities": ["error"]}]},
            "[0] names 'success', whose severity is info: add it to severities, or leave",
        ),
        (
            {"ALERTS": [{"conditions": "failed", "severities": ["info"]}]},
            "whose severity is critical or error or warning: add it to severities, or leave",
        ),
        ({"CONDITIONS": {"failed": None}}, "must be True, False or a dictionary, not None."),
        ({"CONDITIONS": {"failed": {"alert_after_failures": None}}}, "a whole number from 1"),
        ({"CONDITIONS": {"scheduler_behind": {"behind": None}}}, "a whole number from 1"),
        ({"CONDITIONS": {"no_success": {"no_success_for": None}}}, "needs a threshold"),
        ({"CONDITIONS": {"success": True}}, "name it in notify_on of each task instead."),
        ({"CONDITIONS": {"sucess": True}}, "has 'sucess', but only tasks can ask for 'success'"),
        ({"ALERTS": [{"remind_every": 5}]}, "at least 60, not 5"),
        ({"ALERTS": [{"remind_every": "1h"}]}, "a number of seconds"),
        ({"ALERTS": [{"remind_every": True}]}, "a number of seconds"),
        ({"ALERTS": [{"remind_every": float("nan")}]}, "a number of seconds"),
        ({"ALERTS": [{"quiet_hours": "22-7"}]}, "write '22:00-07:00'"),
        ({"ALERTS": [{"quiet_hours": "25:00-07:00"}]}, "hour must be in 0..23"),
        ({"ALERTS": [{"quiet_hours": "22:00-22:00"}]}, "begins when it ends"),
        ({"ALERTS": [{"quiet_hours": "22:00-07:00 Europe/Berln"}]}, "Europe/Berlin"),
        ({"ALERTS": [{"quiet_hours": 7}]}, "is 7, not two times of the day"),
    ],
)
def test_what_is_wrong_is_refused_with_advice(keys: dict[str, Any], said: str) -> None:
    assert said in refusal(**keys)
