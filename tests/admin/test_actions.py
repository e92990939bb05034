"""The actions of the list of tasks, and deletion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks.models import Execution, Task
from tests.admin.pages import act, messages, page, text

Make = Callable[..., Any]


def test_disabling_and_enabling_restart_the_clock(admin_client: Client, make_task: Make) -> None:
    a, b = make_task("a", "shop.plain", "every 1 hour"), make_task("b", "shop.plain", "0 2 * * *")
    response = act(admin_client, "disable", a, b)
    assert messages(response) == ["2 tasks disabled."]
    assert not Task.objects.filter(enabled=True).exists()
    assert not Task.objects.filter(state__next_run_at__isnull=False).exists()

    assert messages(act(admin_client, "enable", a)) == ["1 task enabled."]
    task = Task.objects.get(enabled=True)
    assert task == a
    assert task.state.next_run_at == task.next_slot(task.updated_at)


def test_only_tasks_that_change_are_counted_and_logged(
    admin_client: Client, make_task: Make
) -> None:
    on, off = make_task("on", "shop.plain"), make_task("off", "shop.plain", enabled=False)
    assert messages(act(admin_client, "enable", on, off)) == ["1 task enabled."]
    assert [(entry.object_repr, entry.change_message) for entry in LogEntry.objects.all()] == [
        ("off", "Enabled.")
    ]
    assert messages(act(admin_client, "enable", on, off)) == ["0 tasks enabled."]


def test_only_selected_tasks_change(admin_client: Client, make_task: Make) -> None:
    a = make_task("a", "shop.plain")
    make_task("b", "shop.plain")
    act(admin_client, "disable", a)
    assert Task.objects.get(enabled=True).name == "b"


def test_run_now_queues_an_execution_of_each_task(admin_client: Client, make_task: Make) -> None:
    a = make_task("a", "shop.cleanup", "0 2 * * *", payload={"days": 7})
    b = make_task("b", "shop.plain", enabled=False)
    due = a.state.next_run_at
    assert messages(act(admin_client, "run_now", a, b)) == ["2 executions queued."]
    queued = Execution.objects.order_by("task_name")
    assert [(row.task_name, row.payload) for row in queued] == [("a", {"days": 7}), ("b", {})]
    for row in queued:
        assert (row.status, row.trigger, row.slot) == ("queued", "manual", None)
        assert row.triggered_by == "user:admin"
    assert Task.objects.get(name="a").state.next_run_at == due


def test_a_task_that_cannot_run_stops_no_other(admin_client: Client, make_task: Make) -> None:
    export = make_task("export", "shop.export")
    gone, fine = make_task("gone", "shop.plain"), make_task("plain", "shop.plain")
    Task.objects.filter(pk=gone.pk).update(handler="shop.gone")
    said = messages(act(admin_client, "run_now", export, gone, fine))
    assert said[0].startswith("export: customer: required.")
    assert f'href="{page("task_run", export.pk)}"' in said[0]
    assert said[1].startswith("gone: No handler is called &#x27;shop.gone&#x27;.")
    assert said[2] == "1 execution queued."
    assert Execution.objects.get().task == fine


def test_an_enabled_task_with_invalid_schedule_is_parked(
    admin_client: Client, make_task: Make
) -> None:
    bad, fine = make_task("bad", "shop.plain", enabled=False), make_task("fine", "shop.plain")
    Task.objects.filter(pk=bad.pk).update(schedule="nonsense")
    Task.objects.filter(pk=fine.pk).update(enabled=False)
    said = messages(act(admin_client, "enable", bad, fine))
    assert said[0].startswith("bad is parked: ")
    assert said[1] == "2 tasks enabled."
    assert Task.objects.get(state__parked_at=None) == fine


def test_reset_to_code_leaves_enabled_alone(admin_client: Client, make_task: Make) -> None:
    said = {"schedule": "0 2 * * *", "category": "cleanup", "payload": {}}
    edited = make_task("edited", "shop.plain", "0 5 * * *", declared=said, enabled=False)
    make_task("by-hand", "shop.plain", "0 5 * * *")
    assert messages(act(admin_client, "reset_to_code", *Task.objects.all())) == ["1 task reset."]
    edited.refresh_from_db()
    assert (edited.schedule, edited.category, edited.enabled) == ("0 2 * * *", "cleanup", False)
    assert Task.objects.get(name="by-hand").schedule == "0 5 * * *"
    assert LogEntry.objects.get().change_message == "Reset to code: schedule, category."


def test_deleting_tasks_keeps_their_history(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    tasks = [make_task("a", "shop.plain"), make_task("b", "shop.plain")]
    make_execution(tasks[0])
    asked = text(act(admin_client, "delete_selected", *tasks))
    assert "Are you sure" in asked
    assert "task state" not in asked.lower()
    response = act(admin_client, "delete_selected", *tasks, post="yes")
    assert messages(response) == ["Successfully deleted 2 tasks."]
    assert not Task.objects.exists()
    assert Execution.objects.get().task_name == "a"


@pytest.mark.parametrize("action", ["delete_selected", "pause", "enable"])
def test_tasks_that_are_gone_are_reported(
    admin_client: Client, make_task: Make, action: str
) -> None:
    task = make_task("a", "shop.plain")
    Task.objects.filter(pk=task.pk).delete()
    response = act(admin_client, action, task)
    assert response.status_code == 302
    assert "1 has been deleted." in messages(response)


def test_a_deleted_task_is_reported_with_others(admin_client: Client, make_task: Make) -> None:
    tasks = [make_task("a", "shop.plain"), make_task("b", "shop.plain")]
    Task.objects.filter(pk=tasks[0].pk).delete()
    said = messages(act(admin_client, "delete_selected", *tasks, post="yes"))
    assert set(said) == {"Successfully deleted 1 task.", "1 has been deleted."}


@pytest.mark.parametrize("action", ["delete_selected", "cancel", "resolve"])
def test_executions_that_are_gone_are_reported(admin_client: Client, action: str) -> None:
    posted = {"action": action, "_selected_action": ["1", "2"]}
    response = admin_client.post(page("execution_changelist"), posted)
    assert (response.status_code, messages(response)) == (302, ["2 have been deleted."])


def test_tasks_declared_in_code_are_not_deleted(admin_client: Client, make_task: Make) -> None:
    declared = make_task("declared", "shop.plain", origin=Task.Origin.CODE)
    other = make_task("other", "shop.plain")
    refused = text(act(admin_client, "delete_selected", declared, other, post="yes"))
    assert "declared: declared in code. Disable it instead." in refused
    assert Task.objects.count() == 2
    assert admin_client.get(page("task_delete", declared.pk)).status_code == 403
    assert admin_client.post(page("task_delete", other.pk), {"post": "yes"}).status_code == 302
    assert Task.objects.get() == declared


def test_executions_can_be_deleted(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    execution = make_execution(make_task("a", "shop.plain"))
    response = admin_client.post(
        page("execution_changelist"),
        {"action": "delete_selected", "_selected_action": [execution.pk], "post": "yes"},
    )
    assert response.status_code == 302
    assert not Execution.objects.exists()


@pytest.mark.parametrize("view", ["execution", "worker"])
def test_engine_rows_cannot_be_added_or_changed(
    admin_client: Client, make_task: Make, make_execution: Make, make_worker: Make, view: str
) -> None:
    row = make_execution(make_task("a", "shop.plain")) if view == "execution" else make_worker()
    assert admin_client.get(page(f"{view}_add")).status_code == 403
    assert admin_client.get(page(f"{view}_change", row.pk)).status_code == 200
    assert admin_client.post(page(f"{view}_change", row.pk), {"status": "x"}).status_code == 403


def test_a_worker_cannot_be_deleted(admin_client: Client, make_worker: Make) -> None:
    assert admin_client.post(page("worker_delete", make_worker().pk)).status_code == 403
