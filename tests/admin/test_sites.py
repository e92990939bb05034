"""The admin under a project's own sites: no page links to another site."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, TaskChange
from tests.admin.pages import messages, page, text

pytestmark = [pytest.mark.urls("tests.admin.urls"), pytest.mark.any_database]

Make = Callable[..., Any]


def links_of(said: str) -> set[str]:
    """Return the first path segments of the links of a page, without static files."""
    return {
        link.split("/")[1]
        for link in re.findall(r'(?:href|src|action)="(/[^"]*)"', said)
        if not link.startswith(("/static/", "//"))
    } - {""}


@pytest.mark.parametrize("site", ["whole", "tasks"])
def test_all_links_of_tasks_stay_within_the_site(
    admin_client: Client, make_task: Make, make_execution: Make, make_worker: Make, site: str
) -> None:
    task = make_task("export", "shop.export")
    make_execution(task)
    make_worker()
    name = {"whole": "whole", "tasks": "tasks_only"}[site]
    for url in (
        page("task_changelist", site=name),
        page("task_add", site=name),
        page("task_change", task.pk, site=name),
        page("task_run", task.pk, site=name),
    ):
        response = admin_client.get(url)
        assert response.status_code == 200
        assert links_of(text(response)) == {site}, url
    selected = {"action": "pause", "_selected_action": [task.pk]}
    response = admin_client.post(page("task_changelist", site=name), selected)
    assert links_of(text(response)) == {site}


def test_pause_and_change_links_stay_within_the_site(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    make_task("export", "shop.export")
    pause = begin_pause(now)
    for url in (
        page("pause_changelist", site="whole"),
        page("pause_change", pause.pk, site="whole"),
        page("pause_add", site="whole"),
        page("taskchange_changelist", site="whole"),
        page("taskchange_change", TaskChange.objects.get().pk, site="whole"),
    ):
        response = admin_client.get(url)
        assert response.status_code == 200
        assert links_of(text(response)) == {"whole"}, url
    response = admin_client.post(page("pause_resume", site="whole"))
    assert response.url == page("task_changelist", site="whole")


def test_a_site_without_pauses_still_shows_the_banner(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    task = make_task("export", "shop.export")
    begin_pause(now, reason="Deploy")
    said = text(admin_client.get(page("task_changelist", site="tasks_only")))
    assert "All tasks are paused" in said
    assert "/resume/" not in said
    said = text(admin_client.get(page("task_change", task.pk, site="tasks_only")))
    assert "Last changes" not in said


def test_a_run_redirects_to_the_same_sites_execution(admin_client: Client, make_task: Make) -> None:
    task = make_task("plain", "shop.plain")
    response = admin_client.post(page("task_run", task.pk, site="whole"))
    assert response.url == page("execution_change", Execution.objects.get().pk, site="whole")
    assert response.url.startswith("/whole/")


def test_a_site_without_executions_works(admin_client: Client, make_task: Make) -> None:
    task = make_task("export", "shop.export")
    said = text(admin_client.get(page("task_change", task.pk, site="tasks_only")))
    assert "Last executions" not in said
    response = admin_client.post(
        page("task_run", task.pk, site="tasks_only"), {"payload-customer": "Ada"}
    )
    assert response.url == page("task_change", task.pk, site="tasks_only")
    response = admin_client.post(
        page("task_changelist", site="tasks_only"),
        {"action": "run_now", "_selected_action": [task.pk]},
    )
    assert f'href="/tasks/scheduled_tasks/task/{task.pk}/run/"' in messages(response)[-1]


def test_execution_links_stay_within_the_site(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    execution = make_execution(make_task("plain", "shop.plain"), status="failed")
    for url in (
        page("execution_changelist", site="whole"),
        page("execution_change", execution.pk, site="whole"),
        page("execution_cancel", execution.pk, site="whole"),
        page("execution_resolve", execution.pk, site="whole"),
        page("execution_requeue_payload", execution.pk, site="whole"),
        page("deadletter_changelist", site="whole"),
        page("deadletter_requeue", "-", site="whole"),
    ):
        response = admin_client.get(url)
        assert response.status_code == 200
        assert links_of(text(response)) == {"whole"}, url
    response = admin_client.post(page("execution_requeue", execution.pk, site="whole"))
    assert response.url.startswith("/whole/")


def test_a_site_of_dead_letters_alone_works(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    make_execution(make_task("plain", "shop.plain"), status="failed")
    response = admin_client.get(page("deadletter_changelist", site="letters_only"))
    assert response.status_code == 200
    assert links_of(text(response)) == {"letters"}
    assert "plain" in text(response)


def test_links_of_monitoring_stay_within_the_site(
    admin_client: Client, make_execution: Make, make_task: Make, make_alert: Make, make_window: Make
) -> None:
    task = make_task("plain", "shop.plain")
    execution = make_execution(task)
    alert, window = make_alert(task, execution_id=execution.pk), make_window(task=task)
    for name, segment in (("whole", "whole"), ("alerts_only", "alerts")):
        for url in (
            page("alert_changelist", site=name),
            page("alert_change", alert.pk, site=name),
            page("alert_test", site=name),
            page("maintenancewindow_changelist", site=name),
            page("maintenancewindow_change", window.pk, site=name),
            page("maintenancewindow_add", site=name),
        ):
            response = admin_client.get(url)
            assert response.status_code == 200
            assert links_of(text(response)) == {segment}, url
            assert "plain" in text(response) or "test" in url
    response = admin_client.post(page("maintenancewindow_end", window.pk, site="whole"))
    assert response.url == page("maintenancewindow_changelist", site="whole")


def test_a_site_without_tasks_works(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    execution = make_execution(make_task("plain", "shop.plain"))
    response = admin_client.get(page("execution_change", execution.pk, site="history_only"))
    assert response.status_code == 200
    assert links_of(text(response)) == {"history"}
    assert "plain" in text(response)
