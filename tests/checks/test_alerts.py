"""The check of CONDITIONS and ALERTS, and what it stops."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from tests.checks.messages import found, ids

BAD = {"CONDITIONS": {"mised": True}}


def test_e012_names_the_condition_that_is_meant() -> None:
    [message] = found(SCHEDULED_TASKS=BAD)
    assert message.id == "scheduled_tasks.E012"
    assert "has no condition 'mised': did you mean 'missed'?" in message.msg


def test_e012_for_each_mistake() -> None:
    wrong = {**BAD, "ALERTS": [{"too": "ops", "tasks": []}]}
    assert ids(SCHEDULED_TASKS=wrong) == ["E012"] * 3


def test_e012_for_rules() -> None:
    assert ids(SCHEDULED_TASKS={"ALERTS": [{"to": "ops"}]}) == ["E012"]
    assert ids(SCHEDULED_TASKS={"ALERTS": [{"severities": ["error"]}]}) == []


def test_alerts_of_invalid_settings_are_left_out() -> None:
    assert ids(SCHEDULED_TASKS={**BAD, "NO_SUCH_KEY": 1}) == ["E001"]


@pytest.mark.django_db
def test_e012_stops_the_scheduler() -> None:
    with override_settings(SCHEDULED_TASKS=BAD), pytest.raises(SystemCheckError, match="E012"):
        call_command("runscheduler", "--once", skip_checks=False)
