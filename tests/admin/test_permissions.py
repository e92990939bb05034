"""Permissions: Django's own, and run_task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.models import Execution, Task, TaskChange
from tests.admin.pages import act, messages, page, task_data, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]
Staff = Callable[..., Client]

CHANGING = {"enable", "disable", "pause", "end_pause", "reset_to_code"}


def actions_of(client: Client) -> set[str]:
    response = client.get(page("task_changelist"))
    form = response.context["action_form"]
    return {name for name, label in form.fields["action"].choices if name} if form else set()


def test_nobody_gets_in_without_logging_in(client: Client, make_task: Make) -> None:
    task = make_task("a", "shop.plain")
    for url in (
        page("task_changelist"),
        page("task_run", task.pk),
        page("worker_changelist"),
        page("pause_resume"),
        page("execution_requeue", 1),
        page("deadletter_changelist"),
        page("deadletter_resolve", "-"),
        page("alert_changelist"),
        page("alert_test"),
        page("maintenancewindow_end", 1),
    ):
        response = client.post(url)
        assert response.status_code == 302
        assert "/login/" in response.url
    assert not Execution.objects.exists()


def test_staff_without_permissions_sees_nothing(
    staff: Staff, make_task: Make, make_execution: Make, make_alert: Make, make_window: Make
) -> None:
    task, client = make_task("a", "shop.plain"), staff()
    alert, window = make_alert(task), make_window()
    execution = make_execution(task, status="failed")
    for url in (
        page("task_changelist"),
        page("task_change", task.pk),
        page("task_run", task.pk),
        page("execution_changelist"),
        page("worker_changelist"),
        page("pause_changelist"),
        page("pause_add"),
        page("pause_resume"),
        page("taskchange_changelist"),
        page("alert_changelist"),
        page("alert_change", alert.pk),
        page("alert_test"),
        page("maintenancewindow_changelist"),
        page("maintenancewindow_add"),
        page("maintenancewindow_change", window.pk),
        page("maintenancewindow_end", window.pk),
        *settling(execution),
        page("deadletter_changelist"),
    ):
        assert client.get(url).status_code == 403
        assert client.post(url).status_code == 403
    assert Execution.objects.get().dead


@pytest.mark.parametrize(
    ("permissions", "offered"),
    [
        ({"view_task"}, set()),
        ({"view_task", "run_task"}, {"run_now"}),
        ({"change_task"}, CHANGING),
        ({"view_task", "delete_task"}, {"delete_selected"}),
        (
            {"change_task", "run_task", "delete_task"},
            CHANGING | {"run_now", "delete_selected"},
        ),
    ],
)
def test_only_permitted_actions_are_offered_and_done(
    staff: Staff, make_task: Make, permissions: set[str], offered: set[str]
) -> None:
    client, task = staff(*permissions), make_task("a", "shop.plain")
    assert actions_of(client) == offered
    for action in {"enable", "disable", "run_now"} - offered:
        act(client, action, task)
        assert Task.objects.get().enabled
        assert not Execution.objects.exists()


@pytest.mark.parametrize(
    "permissions", [["view_execution"], ["run_task"], ["view_execution", "change_task"]]
)
def test_settling_needs_view_execution_and_run_task(
    staff: Staff, make_task: Make, make_execution: Make, permissions: list[str]
) -> None:
    client = staff(*permissions)
    execution = make_execution(make_task("a", "shop.plain"), status="failed")
    for url in settling(execution):
        assert client.get(url).status_code == 403
        assert client.post(url, {"confirmed": "Go", "reason": "Mended."}).status_code == 403
    for action in ("cancel", "requeue", "resolve"):
        data = {
            "action": action,
            "_selected_action": [execution.pk],
            "confirmed": "Go",
            "reason": "x",
        }
        client.post(page("execution_changelist"), data)
    assert Execution.objects.get().dead
    if "view_execution" in permissions:
        assert "Resolve" not in text(client.get(page("execution_change", execution.pk)))
        assert "Resolve" not in text(client.get(page("deadletter_changelist")))


def test_view_execution_and_run_task_allow_settling(
    staff: Staff, make_task: Make, make_execution: Make
) -> None:
    client = staff("view_execution", "run_task")
    execution = make_execution(make_task("a", "shop.plain"), status="failed")
    form = client.get(page("execution_changelist")).context["action_form"]
    offered = {name for name, _ in form.fields["action"].choices if name}
    assert offered == {"cancel", "requeue", "resolve"}
    assert "Resolve" in text(client.get(page("deadletter_changelist")))
    client.post(page("execution_requeue", execution.pk))
    assert Execution.objects.get(requeue_of=execution).triggered_by == "user:staff"


def settling(execution: Execution) -> list[str]:
    """Return the URLs that resolve or requeue an execution or its group."""
    ways = ("cancel", "requeue", "requeue_payload", "resolve")
    return [
        *(page(f"execution_{way}", execution.pk) for way in ways),
        *(page(f"deadletter_{way}", "-") for way in ("requeue", "resolve")),
    ]


def test_a_viewer_reads_and_changes_nothing(staff: Staff, make_task: Make) -> None:
    client, task = staff("view_task"), make_task("a", "shop.plain", payload={})
    said = text(client.get(page("task_change", task.pk)))
    assert "Run now" not in said
    assert "Last executions" not in said
    assert 'name="_save"' not in said
    assert client.post(page("task_change", task.pk), task_data()).status_code == 403
    assert client.get(page("task_run", task.pk)).status_code == 403
    assert client.post(page("task_run", task.pk)).status_code == 403
    assert client.get(page("task_add")).status_code == 403
    assert not Execution.objects.exists()


def test_a_viewer_sees_the_history_of_executions(
    staff: Staff, make_task: Make, make_execution: Make
) -> None:
    client, task = staff("view_task", "view_execution"), make_task("a", "shop.plain")
    execution = make_execution(task)
    assert f"#{execution.pk}" in text(client.get(page("task_change", task.pk)))
    said = text(client.get(page("execution_change", execution.pk)))
    assert 'class="deletelink"' not in said
    assert client.post(page("execution_delete", execution.pk)).status_code == 403


def test_to_change_tasks_is_not_to_run_them(staff: Staff, make_task: Make) -> None:
    client, task = staff("change_task"), make_task("a", "shop.plain")
    assert "Run now" not in text(client.get(page("task_change", task.pk)))
    assert client.post(page("task_run", task.pk)).status_code == 403
    assert not Execution.objects.exists()


@pytest.mark.parametrize(
    ("permissions", "leads_to"),
    [
        (["run_task"], "/admin/"),
        (["run_task", "view_task"], "/admin/scheduled_tasks/task/{task}/change/"),
        (["run_task", "view_execution"], "/admin/scheduled_tasks/execution/{execution}/change/"),
    ],
)
def test_running_a_task_redirects_to_a_permitted_page(
    staff: Staff, make_task: Make, permissions: list[str], leads_to: str
) -> None:
    client, task = staff(*permissions), make_task("a", "shop.plain")
    assert client.get(page("task_run", task.pk)).status_code == 200
    response = client.post(page("task_run", task.pk))
    execution = Execution.objects.get()
    assert response.url == leads_to.format(task=task.pk, execution=execution.pk)
    assert client.get(response.url).status_code == 200
    assert messages(response)
    assert execution.triggered_by == "user:staff"


def test_workers_are_linked_only_for_permitted_users(
    staff: Staff, make_task: Make, make_worker: Make
) -> None:
    make_worker()
    said = text(staff("view_task").get(page("task_changelist")))
    assert "1 worker online" in said
    assert page("worker_changelist") not in said


def test_who_may_only_look_sees_no_secrets(
    staff: Callable[..., Client], make_task: Callable[..., Task]
) -> None:
    task = make_task("sync", "shop.cleanup")
    task.metadata = {"api_key": "hunter2xyz"}
    task.save()
    client = staff("view_task", "view_taskchange")
    pages = [page("task_change", task.pk), page("taskchange_changelist")]
    pages += [page("taskchange_change", change.pk) for change in TaskChange.objects.all()]
    said = "".join(text(client.get(each)) for each in pages)
    assert "hunter2xyz" not in said
    assert said.count("[redacted]") >= 2
