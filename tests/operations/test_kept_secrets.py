"""What people give as a reason or change is kept, and shown, without secrets."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from scheduled_tasks import pause_task, register_task
from scheduled_tasks.models import Task, TaskChange
from scheduled_tasks.operations.records import task_record
from scheduled_tasks.operations.sync import SyncChange

pytestmark = pytest.mark.django_db

SECRET = "hunter2xyz"
REASON = f"The database moves, password={SECRET}"


@pytest.fixture
def task() -> Task:
    return register_task(
        "nightly",
        "jobs.answer",
        payload={"value": {"api_key": SECRET, "note": f"Bearer {SECRET}"}},
        description=f"Logs in with token={SECRET}",
    )


def test_the_reason_of_a_pause_has_no_secrets(task: Task) -> None:
    paused = pause_task("nightly", timezone.now() + timedelta(days=1), reason=REASON)
    task.refresh_from_db()
    assert task.pause_reason == paused.pause_reason == "The database moves, password=[redacted]"
    task.pause_reason = REASON
    task.save()
    task.refresh_from_db()
    assert SECRET not in task.pause_reason


def test_recorded_changes_have_no_secrets(task: Task) -> None:
    task.payload = {"value": {"api_key": f"{SECRET}-2"}}
    task.save()
    for change in TaskChange.objects.filter(task=task):
        assert "payload" in change.fields
        assert SECRET not in json.dumps(change.fields)
    task.refresh_from_db()
    assert task.payload == {"value": {"api_key": f"{SECRET}-2"}}


def test_tasks_as_json_have_no_secrets(task: Task, capsys: pytest.CaptureFixture[str]) -> None:
    assert SECRET not in json.dumps(task_record(task))
    call_command("listtasks", "--json")
    assert SECRET not in capsys.readouterr().out


def test_the_lines_of_sync_have_no_secrets() -> None:
    change = SyncChange("nightly", "update", {"payload": ({"token": SECRET}, {"token": "x"})})
    assert str(change) == (
        "update nightly payload: {'token': '[redacted]'} -> {'token': '[redacted]'}"
    )
