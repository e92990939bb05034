"""Saves and deletions that conflict with the engine are retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError, connection
from django.test import Client

from scheduled_tasks.lifecycle.editing import Edit
from scheduled_tasks.models import Execution, Pause, Task, TaskChange
from scheduled_tasks.models.sql.transactions import LostRaceError
from scheduled_tasks.models.task_state import TaskStateQuerySet
from tests.admin.pages import act, messages, page, task_data

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[..., Any]


@pytest.fixture
def conflicts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that makes a method raise after its work, a given number of times."""

    def meet(cls: type, verb: str, *, times: int = 1, error: type[Exception]) -> list[str]:
        original, met = getattr(cls, verb), []

        def interrupted(self: Any, *args: Any, **options: Any) -> Any:
            done = original(self, *args, **options)
            if len(met) < times:
                met.append(verb)
                raise error("Another transaction was faster.")
            return done

        monkeypatch.setattr(cls, verb, interrupted)
        return met

    return meet


def test_a_task_is_made_once_after_a_conflict(admin_client: Client, conflicts: Make) -> None:
    met = conflicts(Edit, "save", times=3, error=LostRaceError)
    response = admin_client.post(page("task_add"), task_data())
    assert response.status_code == 302
    assert len(met) == 3
    assert Task.objects.get().state.next_run_at is not None
    assert TaskChange.objects.get().action == "created"
    assert LogEntry.objects.count() == 1
    assert len(messages(response)) == 1


def test_an_edit_is_saved_once_and_said_once(
    admin_client: Client, make_task: Make, conflicts: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    admin = admin_client.get(page("task_change", task.pk)).context["adminform"].model_admin
    met = conflicts(type(admin), "response_change", error=LostRaceError)
    response = admin_client.post(
        page("task_change", task.pk), task_data(category="mail", _save="Save")
    )
    assert (response.status_code, met) == (302, ["response_change"])
    assert Task.objects.get().category == "mail"
    assert LogEntry.objects.count() == 1
    [said] = messages(response)
    assert "was changed successfully" in said


def test_a_lasting_conflict_is_raised_after_some_tries(
    admin_client: Client, conflicts: Make
) -> None:
    met = conflicts(Edit, "save", times=100, error=LostRaceError)
    with pytest.raises(LostRaceError):
        admin_client.post(page("task_add"), task_data())
    assert 1 < len(met) < 10
    assert not Task.objects.exists()


def test_other_database_errors_are_not_retried(admin_client: Client, conflicts: Make) -> None:
    met = conflicts(Edit, "save", times=100, error=OperationalError)
    with pytest.raises(OperationalError):
        admin_client.post(page("task_add"), task_data())
    assert len(met) == 1


def test_with_atomic_requests_the_conflict_is_raised(
    admin_client: Client, conflicts: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    met = conflicts(Edit, "save", error=LostRaceError)
    with pytest.raises(LostRaceError):
        admin_client.post(page("task_add"), task_data())
    assert len(met) == 1
    assert not Task.objects.exists()


def test_looking_begins_no_transaction(
    admin_client: Client, make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("nightly", "shop.cleanup")
    monkeypatch.setattr("scheduled_tasks.admin.retrying.in_transaction", None)
    for url in (page("task_change", task.pk), page("task_add"), page("task_delete", task.pk)):
        assert admin_client.get(url).status_code == 200


def test_a_task_is_deleted_after_a_conflict(
    admin_client: Client, make_task: Make, conflicts: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    met = conflicts(Edit, "delete", error=LostRaceError)
    response = admin_client.post(page("task_delete", task.pk), {"post": "yes"})
    assert (response.status_code, met) == (302, ["delete"])
    assert not Task.objects.exists()
    assert TaskChange.objects.filter(action="deleted").count() == 1
    assert len(messages(response)) == 1


@pytest.mark.parametrize(
    ("action", "cls", "verb"),
    [("disable", TaskStateQuerySet, "lock_tasks"), ("delete_selected", Edit, "lock")],
)
def test_actions_are_tried_again_too(  # noqa: PLR0917
    admin_client: Client, make_task: Make, conflicts: Make, action: str, cls: type, verb: str
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    met = conflicts(cls, verb, error=LostRaceError)
    assert act(admin_client, action, task, post="yes").status_code == 302
    assert len(met) == 1
    assert not Task.objects.filter(enabled=True).exists()


def test_executions_are_deleted_after_a_conflict(
    admin_client: Client, make_task: Make, make_execution: Make, conflicts: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    executions = [make_execution(task) for _ in range(2)]
    met = conflicts(type(Execution.objects.all()), "delete", error=LostRaceError)
    selected = [execution.pk for execution in executions]
    admin_client.post(
        page("execution_changelist"),
        {"action": "delete_selected", "_selected_action": selected, "post": "yes"},
    )
    assert len(met) == 1
    assert not Execution.objects.exists()


def test_everything_is_paused_once_after_a_conflict(admin_client: Client, conflicts: Make) -> None:
    met = conflicts(Pause, "save", error=LostRaceError)
    admin_client.post(page("pause_add"), {"until_0": "", "until_1": "", "reason": "Deploy"})
    assert len(met) == 1
    assert Pause.objects.get().reason == "Deploy"
