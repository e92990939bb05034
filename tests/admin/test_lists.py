"""The lists: columns, filters and search."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.admin import pagination
from scheduled_tasks.admin.executions.admin import ExecutionAdmin
from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from tests.admin.pages import listed, page, text

Make = Callable[..., Any]


def test_the_list_shows_schedule_next_run_and_status(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", timezone="Europe/Berlin")
    coming = now + timedelta(hours=3, minutes=1)
    TaskState.objects.filter(pk=task.pk).update(
        next_run_at=coming, last_status="failed", last_run_at=now, consecutive_failures=3
    )
    said = text(admin_client.get(page("task_changelist")))
    assert "At 02:00 (Europe/Berlin)" in said
    assert f'<time datetime="{coming.isoformat()}">{coming:%Y-%m-%d %H:%M:%S UTC}</time>' in said
    assert "in 3 hours" in said
    assert '<span class="st-badge st-failed">failed × 3</span>' in said  # noqa: RUF001
    assert 'alt="True"' in said


def test_a_task_that_should_have_fired_is_marked(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    task = make_task("overdue", "shop.cleanup", "0 2 * * *")
    assert "st-late" not in text(admin_client.get(page("task_changelist")))
    TaskState.objects.filter(pk=task.pk).update(next_run_at=now - timedelta(hours=1))
    assert "st-late" in text(admin_client.get(page("task_changelist")))


def test_a_manual_task_has_no_next_run(admin_client: Client, make_task: Make) -> None:
    make_task("manual", "shop.plain")
    said = text(admin_client.get(page("task_changelist")))
    assert "Manual only" in said
    assert '<td class="field-next_run">-</td>' in said


def test_the_list_shows_the_number_of_workers(
    admin_client: Client, make_task: Make, make_worker: Make, now: datetime
) -> None:
    make_worker("long gone", heartbeat_at=now - timedelta(hours=1))
    assert "No worker is online" in text(admin_client.get(page("task_changelist")))
    make_worker()
    said = text(admin_client.get(page("task_changelist")))
    assert "No worker is online" not in said
    assert f'<a href="{page("worker_changelist")}">1 worker online</a>' in said


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["broken", "manual", "nightly", "off"]),
        ("?enabled__exact=0", ["off"]),
        ("?parked=1", ["broken"]),
        ("?parked=0", ["manual", "nightly", "off"]),
        ("?last_status=failed", ["nightly"]),
        ("?last_status=-", ["broken", "manual", "off"]),
        ("?category=mail", ["nightly"]),
        ("?category=-", ["broken", "manual", "off"]),
        ("?category=gone", []),
        ("?origin__exact=code", ["off"]),
        ("?q=MANUAL", ["manual"]),
        ("?q=shop.plain", ["manual"]),
        ("?q=letters", ["nightly"]),
        ("?_facets=True", ["broken", "manual", "nightly", "off"]),
    ],
)
def test_tasks_are_filtered_and_found(
    admin_client: Client, make_task: Make, now: datetime, query: str, found: list[str]
) -> None:
    nightly = make_task(
        "nightly", "shop.cleanup", "0 2 * * *", category="mail", description="Deletes old letters"
    )
    TaskState.objects.filter(pk=nightly.pk).update(last_status="failed", last_run_at=now)
    make_task("manual", "shop.plain")
    make_task("off", "shop.cleanup", enabled=False, origin=Task.Origin.CODE)
    park(make_task("broken", "shop.cleanup").state, "Its handler is gone.", now, using="default")
    assert listed(admin_client, "task_changelist", query) == found


def test_categories_are_not_offered_where_there_are_none(
    admin_client: Client, make_task: Make
) -> None:
    make_task("a", "shop.plain")
    filters = admin_client.get(page("task_changelist")).context["cl"].filter_specs
    assert "category" not in {each.title for each in filters}


def test_executions_are_listed_newest_first(
    admin_client: Client, make_task: Make, make_execution: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup")
    first, second = (
        make_execution(task),
        make_execution(task, started_at=now + timedelta(minutes=2)),
    )
    response = admin_client.get(page("execution_changelist"))
    assert [row.pk for row in response.context["cl"].result_list] == [second.pk, first.pk]
    said = text(response)
    assert f"#{second.pk}" in said
    assert '<td class="field-delay">2 min 00 s</td>' in said
    assert '<td class="field-duration">2.0 s</td>' in said


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?status__exact=failed", ["b"]),
        ("?trigger__exact=manual", ["c"]),
        ("?queue=slow", ["c"]),
        ("?test_mode__exact=1", ["c"]),
        ("?test_mode__exact=0", ["b", "a"]),
        ("?q=b", ["b"]),
        ("?q=nothing", []),
        ("?task={a}", ["a"]),
        ("?task=0", []),
    ],
)
def test_executions_are_filtered_and_found(
    admin_client: Client, make_task: Make, make_execution: Make, query: str, found: list[str]
) -> None:
    a, b = make_task("a", "shop.plain"), make_task("b", "shop.plain")
    make_execution(a)
    make_execution(b, status="failed")
    c = make_task("c", "shop.plain", queue="slow")
    make_execution(c, trigger="manual", test_mode=True)
    rows = listed(admin_client, "execution_changelist", query.format(a=a.pk))
    assert [row.partition(" ")[0] for row in rows] == found


def test_executions_in_test_mode_are_marked_everywhere(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    mark = '<span class="st-badge st-test">test</span>'
    task = make_task("nightly", "shop.cleanup")
    real = make_execution(task)
    pages = [page("execution_changelist"), page("task_change", task.pk)]
    for url in (*pages, page("execution_change", real.pk)):
        assert mark not in text(admin_client.get(url))
    tried = make_execution(task, test_mode=True)
    for url in (*pages, page("execution_change", tried.pk)):
        assert text(admin_client.get(url)).count(mark) == 1


def test_an_invalid_filter_is_ignored(admin_client: Client) -> None:
    response = admin_client.get(page("execution_changelist") + "?task=x")
    assert response.status_code == 302
    assert response.url.endswith("?e=1")


def test_executions_can_be_paged_up_to_the_cap(
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pagination, "MAX_COUNT", 3)
    task = make_task("nightly", "shop.cleanup")
    for _ in range(5):
        make_execution(task)
    assert admin_client.get(page("execution_changelist")).context["cl"].result_count == 3


@pytest.mark.parametrize(
    ("query", "rows", "count"),
    [
        ("", [7, 6, 5], 7),
        ("?p=2", [4, 3, 2], 7),
        ("?p=3", [1], 7),
        ("?o=1", [1, 2, 3], 7),
        ("?o=1&p=3", [7], 7),
        ("?status=failed", [7, 6], 2),
        ("?status=failed&p=9", [7, 6], 2),
        ("?status=missed", [], 0),
        ("?status=success&all=", [5, 4, 3, 2, 1], 5),
    ],
)
def test_pages_and_counts_are_those_of_the_rows(  # noqa: PLR0917
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    monkeypatch: pytest.MonkeyPatch,
    query: str,
    rows: list[int],
    count: int,
) -> None:
    monkeypatch.setattr(ExecutionAdmin, "list_per_page", 3)
    task = make_task("nightly", "shop.cleanup")
    made = [make_execution(task, status="failed" if n >= 5 else "success").pk for n in range(7)]
    shown = admin_client.get(page("execution_changelist") + query).context["cl"]
    assert [made.index(row.pk) + 1 for row in shown.result_list] == rows
    assert shown.result_count == count


def test_pages_after_the_last_are_refused(
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ExecutionAdmin, "list_per_page", 3)
    task = make_task("nightly", "shop.cleanup")
    for _ in range(7):
        make_execution(task)
    for number in ("4", "10000", "10001", "-1", "0", "99999999999999"):
        answer = admin_client.get(page("execution_changelist") + f"?p={number}")
        assert answer.url.endswith("?e=1")


def test_a_capped_list_promises_no_number(
    admin_client: Client,
    make_task: Make,
    make_execution: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pagination, "MAX_COUNT", 4)
    monkeypatch.setattr(ExecutionAdmin, "list_per_page", 3)
    task = make_task("nightly", "shop.cleanup")
    rows = [make_execution(task) for _ in range(7)]
    said = text(admin_client.get(page("execution_changelist")))
    assert "Select all, more than 4" in said
    assert "There are more than 4." in said
    posted = {"action": "delete_selected", "_selected_action": rows[0].pk, "select_across": "1"}
    asked = text(admin_client.post(page("execution_changelist"), posted))
    assert "Delete 7 executions" in asked


def test_renamed_tasks_are_found_by_both_names(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    task, gone = make_task("before", "shop.plain"), make_task("bygone", "shop.plain")
    old, deleted = make_execution(task), make_execution(gone)
    gone.delete()
    task.name = "after"
    task.save()
    new = make_execution(task)
    for prefix, found in (
        ("before", [old]),
        ("aft", [new]),
        ("by", [deleted]),
        ("b", [deleted, old]),
        ("zzz", []),
        ("%", []),
    ):
        shown = admin_client.get(page("execution_changelist"), {"q": prefix}).context["cl"]
        assert shown.result_list == found


def test_an_execution_shows_its_fields(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    execution = make_execution(
        task, payload={"days": 3}, result={"deleted": 7}, triggered_by="user:ada"
    )
    said = text(admin_client.get(page("execution_change", execution.pk)))
    assert f'<a href="{page("task_change", task.pk)}">nightly</a>' in said
    for part in ("&quot;days&quot;: 3", "&quot;deleted&quot;: 7", "user:ada", "web-1:42"):
        assert part in said
    assert "Failure</h2>" not in said


def test_a_failed_execution_shows_the_error(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    execution = make_execution(
        make_task("nightly", "shop.cleanup"),
        status="failed",
        error_category="network",
        error="ConnectTimeout: no answer",
        traceback="Traceback (most recent call last):\n  File ...",
    )
    said = text(admin_client.get(page("execution_change", execution.pk)))
    for part in ("Failure</h2>", "network", "ConnectTimeout: no answer", "most recent call last"):
        assert part in said


def test_a_missed_execution_shows_the_reason(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    execution = make_execution(
        make_task("a", "shop.plain"),
        status="missed",
        reason="Too late.",
        claimed_at=None,
        started_at=None,
        finished_at=None,
        duration_ms=None,
    )
    assert "Too late." in text(admin_client.get(page("execution_change", execution.pk)))
    assert admin_client.get(page("execution_changelist")).status_code == 200


def test_history_outlives_its_task(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    execution = make_execution(task)
    task.delete()
    assert "nightly (deleted)" in text(admin_client.get(page("execution_change", execution.pk)))
    assert listed(admin_client, "execution_changelist") == [f"nightly #{execution.pk}"]


def test_a_task_page_lists_its_last_executions(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    task = make_task("nightly", "shop.cleanup")
    numbers = [make_execution(task).pk for _ in range(22)]
    response = admin_client.get(page("task_change", task.pk))
    assert [row.number for row in response.context["recent_executions"]] == numbers[:-21:-1]
    said = text(response)
    assert f'href="{page("execution_change", numbers[-1])}"' in said
    assert f'href="{page("execution_changelist")}?task={task.pk}"' in said


def test_the_page_of_a_task_shows_its_status(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup", "every 15 minutes")
    url = page("task_change", task.pk)
    said = text(admin_client.get(url))
    assert "Enabled." in said
    assert said.count("<li><span") == 5
    assert "Never run." in said
    assert "Arguments: days, dry_run, kind." in said

    TaskState.objects.filter(pk=task.pk).update(
        last_status="success", last_run_at=now, execution_count=4
    )
    assert "4 executions" in text(admin_client.get(url))

    park(task.state, "Its handler is gone.", now, using="default")
    assert "Parked: Its handler is gone." in text(admin_client.get(url))

    Task.objects.filter(pk=task.pk).update(enabled=False)
    TaskState.objects.filter(pk=task.pk).update(parked_at=None)
    assert "Disabled. It can still be run manually." in text(admin_client.get(url))


def test_a_declared_task_shows_what_users_changed(admin_client: Client, make_task: Make) -> None:
    task = make_task("nightly", "shop.cleanup", "0 3 * * *", origin=Task.Origin.CODE)
    Task.objects.filter(pk=task.pk).update(declared={"schedule": "0 2 * * *"})
    said = text(admin_client.get(page("task_change", task.pk)))
    assert "Changed from code: schedule." in said


def test_workers_show_their_state(admin_client: Client, make_worker: Make, now: datetime) -> None:
    make_worker(queues=["mail", "slow"], handlers=["shop.cleanup"])
    make_worker("silent:1", heartbeat_at=now - timedelta(hours=1))
    lost = make_worker("lost:1", state=Worker.State.LOST)
    said = text(admin_client.get(page("worker_changelist")))
    for state in ("running", "silent", "lost"):
        assert f'<span class="st-badge st-{state}">{state}</span>' in said
    assert "mail, slow" in said
    assert admin_client.get(page("worker_change", lost.pk)).status_code == 200


def test_every_status_can_be_shown(
    admin_client: Client, make_task: Make, make_execution: Make
) -> None:
    task = make_task("a", "shop.plain")
    for status in Execution.Status.values:
        make_execution(task, status=status)
    said = text(admin_client.get(page("execution_changelist")))
    for status in Execution.Status.values:
        assert f"st-{status}" in said
