"""The check of the NOTIFIERS setting, and what it stops."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from tests.checks.messages import found, ids

PACKAGE = "scheduled_tasks.monitoring.notifiers"
GOOD = {"BACKEND": f"{PACKAGE}.EmailNotifier", "OPTIONS": {"to": "ops@shop.example"}}
BACKEND = f"{PACKAGE}.AppriseNotifier"
BAD = {"BACKEND": f"{PACKAGE}.EmailNotifier", "OPTIONS": {"too": "ops@shop.example"}}


def test_e011_every_notifier_that_cannot_be_made() -> None:
    messages = found(SCHEDULED_TASKS={"NOTIFIERS": {"ops": BAD, "mail": GOOD, "pager": {}}})
    assert [message.id for message in messages] == ["scheduled_tasks.E011"] * 2
    assert [message.msg for message in messages] == [
        "SCHEDULED_TASKS['NOTIFIERS']['ops']: there is no option 'too': did you mean 'to'?",
        f"SCHEDULED_TASKS['NOTIFIERS']['pager']: it needs a BACKEND, such as {BACKEND!r}.",
    ]


def test_notifiers_of_invalid_settings_are_left_out() -> None:
    assert ids(SCHEDULED_TASKS={"NOTIFIERS": {"pager": {}}, "NO_SUCH_KEY": 1}) == ["E001"]
    assert ids(SCHEDULED_TASKS={"NOTIFIERS": {"mail": GOOD}}) == []


@pytest.mark.django_db
def test_e011_stops_the_scheduler() -> None:
    broken = override_settings(SCHEDULED_TASKS={"NOTIFIERS": {"ops": BAD}})
    with broken, pytest.raises(SystemCheckError, match="E011"):
        call_command("runscheduler", "--once", skip_checks=False)
