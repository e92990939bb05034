"""The number of queries of each page does not depend on the number of rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.admin.executions.admin import ExecutionAdmin
from scheduled_tasks.admin.executions.columns import LONG_COLUMNS
from scheduled_tasks.lifecycle.changes import record_change
from scheduled_tasks.models import Execution, Pause, TaskState
from tests.admin.pages import page, say, sent_of, tried

Make = Callable[..., Any]


def queries(client: Client, url: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return [query["sql"] for query in captured]


def test_any_number_of_tasks_costs_the_same(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    url = page("task_changelist")
    admin_client.get(url)
    counts = []
    for number in range(50):
        task = make_task(f"task-{number}", "shop.cleanup", "0 2 * * *", category=f"c{number % 3}")
        TaskState.objects.filter(pk=task.pk).update(last_status="failed", last_run_at=now)
        if number in {4, 49}:
            counts.append(len(queries(admin_client, url)))
    assert counts[0] == counts[1]
    assert counts[0] <= 8


@pytest.mark.parametrize("view", ["taskchange_changelist", "pause_changelist"])
def test_any_number_of_records_costs_the_same(
    admin_client: Client, make_task: Make, now: datetime, view: str
) -> None:
    admin_client.get(page(view))
    task = make_task("nightly", "shop.cleanup")
    counts = []
    for number in range(50):
        record_change(task, "changed", now, fields={"priority": (0, number)}, using="default")
        Pause.objects.create(begun_at=now, ended_at=now)
        if number in {4, 49}:
            counts.append(len(queries(admin_client, page(view))))
    # One page of a history needs no query for the count.
    assert counts[0] <= counts[1] <= counts[0] + 1
    assert counts[1] <= 6


@pytest.mark.parametrize("of", ["all", "one"])
def test_any_number_of_alerts_costs_the_same(
    admin_client: Client, make_task: Make, make_alert: Make, of: str
) -> None:
    task = make_task("nightly", "shop.cleanup")
    url = page("alert_changelist") + (f"?task={task.pk}" if of == "one" else "")
    admin_client.get(url)
    counts = []
    for number in range(50):
        make_alert(task, subject=str(number))
        if number in {4, 49}:
            asked = queries(admin_client, url)
            counts.append(len(asked))
    assert counts[0] == counts[1]
    assert counts[0] <= 6
    assert not any('"scheduled_tasks_alert"."details"' in sql for sql in asked)


def test_any_number_of_windows_costs_the_same(
    admin_client: Client, make_task: Make, make_window: Make
) -> None:
    url = page("maintenancewindow_changelist")
    admin_client.get(url)
    counts = []
    for number in range(50):
        make_window(task=make_task(f"task-{number}", "shop.cleanup"))
        if number in {4, 49}:
            counts.append(len(queries(admin_client, url)))
    assert counts[0] == counts[1]
    assert counts[0] <= 6


def test_any_number_of_messages_costs_the_same(
    admin_client: Client, make_task: Make, make_alert: Make, make_execution: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    alert = make_alert(task, execution_id=make_execution(task).pk)
    url = page("alert_change", alert.pk)
    admin_client.get(url)
    counts = []
    for number in range(60):
        sent_of(alert)
        if number in {4, 59}:
            counts.append(len(queries(admin_client, url)))
    assert counts[0] == counts[1]
    assert counts[0] <= 7


@pytest.mark.parametrize("of", ["all", "one"])
def test_any_number_of_executions_costs_the_same(
    admin_client: Client, make_task: Make, make_execution: Make, of: str
) -> None:
    task = make_task("nightly", "shop.cleanup")
    url = page("execution_changelist") + (f"?task={task.pk}" if of == "one" else "")
    admin_client.get(url)
    counts = []
    for number in range(50):
        make_execution(task, error="x", status="failed")
        if number in {4, 49}:
            counts.append(len(queries(admin_client, url)))
    assert counts[0] == counts[1]
    assert counts[0] <= 6


def test_any_number_of_dead_letters_costs_the_same(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    url = page("deadletter_changelist")
    admin_client.get(url)
    counts = []
    for number in range(50):
        task = make_task(f"task-{number}", "shop.cleanup")
        make_execution(task, error="x", status="failed", error_fingerprint=f"{number:032}")
        if number in {4, 49}:
            asked = queries(admin_client, url)
            counts.append(len(asked))
    assert counts[0] == counts[1]
    about = [sql for sql in asked if "scheduled_tasks_execution" in sql]
    assert len(about) == 3
    for sql in about:
        assert not columns(sql)


@pytest.mark.parametrize("action", ["cancel", "requeue", "resolve"])
def test_bulk_actions_cost_the_same_for_any_number(
    admin_client: Client, make_task: Make, make_execution: Make, action: str
) -> None:
    task = make_task("nightly", "shop.cleanup")
    status = "queued" if action == "cancel" else "failed"
    counts = []
    for size in (1, 3, 30):  # the first time some things are read that are kept in memory then
        rows = [make_execution(task, status=status, finished_at=None).pk for _ in range(size)]
        data = {"action": action, "_selected_action": rows, "confirmed": "Go", "reason": "Mended."}
        with CaptureQueriesContext(connection) as captured:
            assert admin_client.post(page("execution_changelist"), data).status_code == 302
        counts.append(sum(query["sql"].startswith("SELECT") for query in captured))
    assert counts[1] == counts[2]


def columns(sql: str) -> set[str]:
    """Return the long columns that a query reads in full."""
    quote = connection.ops.quote_name
    whole = re.sub(r'(?:SUBSTR|LEFT)\("scheduled_tasks_\w+"\."\w+", [^)]*\)', "", sql)
    return {name for name in LONG_COLUMNS if quote(name) in whole}


@pytest.mark.parametrize("query", ["", "?p=2", "?status__exact=failed", "?q=nightly", "?_facets=1"])
def test_the_execution_list_skips_counts_and_long_columns(
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
) -> None:
    monkeypatch.setattr(ExecutionAdmin, "list_per_page", 2)
    monkeypatch.setattr(ExecutionAdmin, "list_max_show_all", 2)
    task = make_task("nightly", "shop.cleanup")
    for _ in range(3):
        make_execution(task, status="failed", error="x")
    asked = queries(admin_client, page("execution_changelist") + query)
    about = [sql for sql in asked if "scheduled_tasks_execution" in sql]
    assert len(about) == (1 if query == "?p=2" else 2)
    for sql in about:
        assert "LIMIT" in sql
        assert not columns(sql)


def test_task_pages_cost_the_same_without_long_columns(
    admin_client: Client, make_task: Make, make_execution: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup")
    url = page("task_change", task.pk)
    admin_client.get(url)
    counts = []
    for number in range(15):
        make_execution(task)
        record_change(task, "changed", now, fields={"priority": (0, number)}, using="default")
        if number in {4, 14}:
            asked = queries(admin_client, url)
            counts.append(len(asked))
    assert counts[0] == counts[1]
    about = [sql for sql in asked if "scheduled_tasks_execution" in sql]
    assert len(about) == 1
    assert "LIMIT 20" in about[0]
    assert not columns(about[0])


def attempts(execution: Execution) -> None:
    for number in range(1, 30):
        tried(execution, number)


def lines(execution: Execution) -> None:
    say(execution, *("line" for _ in range(300)))


@pytest.mark.parametrize(
    ("table", "fill"),
    [("tasks_attempt", attempts), ("executionlog", lines)],
    ids=["attempts", "log"],
)
def test_only_the_execution_page_queries_logs_and_attempts(
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    table: str,
    fill: Callable[[Execution], None],
) -> None:
    execution = make_execution(make_task("nightly", "shop.cleanup"))
    fill(execution)
    urls = {
        page("execution_change", execution.pk): 1,
        page("execution_changelist"): 0,
        page("task_change", execution.task_id): 0,
    }
    for url, expected in urls.items():
        asked = [sql for sql in queries(admin_client, url) if table in sql]
        assert len(asked) == expected, url
