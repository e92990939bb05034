"""The list of changes, the page of one, and the latest changes of a task."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from scheduled_tasks.lifecycle.parking import park
from scheduled_tasks.models import Task, TaskChange
from tests.admin.pages import act, listed, page, task_data, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]


def edit(client: Client, task: Task, **fields: Any) -> None:
    data = task_data(name=task.name, schedule="0 2 * * *", timezone="UTC", **fields)
    assert client.post(page("task_change", task.pk), data).status_code == 302


def test_changes_from_the_admin_name_the_user(admin_client: Client, make_task: Make) -> None:
    code = make_task("a", "shop.cleanup", "0 2 * * *", declared={"schedule": "0 2 * * *"})
    TaskChange.objects.all().delete()
    admin_client.post(page("task_add"), task_data(name="b"))
    edit(admin_client, code, category="mail")
    act(admin_client, "disable", code)
    act(admin_client, "enable", code)
    Task.objects.filter(pk=code.pk).update(schedule="0 3 * * *")
    act(admin_client, "reset_to_code", code)
    act(admin_client, "delete_selected", code, post="yes")
    admin_client.post(page("task_delete", Task.objects.get().pk), {"post": "yes"})
    assert {change.changed_by for change in TaskChange.objects.all()} == {"user:admin"}
    assert [str(change) for change in TaskChange.objects.order_by("pk")] == [
        "b: created",
        "a: changed",
        "a: changed",
        "a: changed",
        "a: changed",
        "a: deleted",
        "b: deleted",
    ]


def test_a_change_says_what_was_and_what_is(admin_client: Client, make_task: Make) -> None:
    task = make_task("a", "shop.cleanup", "every 5 minutes")
    task.schedule, task.timeout = "every 1 hour", 60
    task.anchor = datetime(2030, 1, 1, tzinfo=UTC)
    task.save(by="user:ada")
    said = text(admin_client.get(page("taskchange_changelist")))
    for part in (
        "<div>schedule: &quot;every 5 minutes&quot; → &quot;every 1 hour&quot;</div>",
        "<div>timeout: none → 60</div>",
        "&quot;2030-01-01T00:00:00Z&quot;</div>",
        '<span class="st-badge st-changed">changed</span>',
        "user:ada",
        "<div>handler: &quot;shop.cleanup&quot;</div>",
    ):
        assert part in said


def test_only_the_list_truncates_a_long_change(admin_client: Client, make_task: Make) -> None:
    task = make_task("a", "shop.cleanup", "0 2 * * *")
    task.description = "x" * 1_000
    task.save()
    said = text(admin_client.get(page("taskchange_changelist")))
    assert f"{'x' * 59}…" in said
    assert "x" * 60 not in said
    task.description = "y" * 100_000
    task.save()
    with CaptureQueriesContext(connection) as captured:
        said = text(admin_client.get(page("taskchange_changelist")))
    assert "Too long to show here." in said
    assert not any('"scheduled_tasks_taskchange"."fields",' in query["sql"] for query in captured)
    change = TaskChange.objects.first()
    said = text(admin_client.get(page("taskchange_change", change.pk)))
    assert "y" * 1_000 in said
    whole = page("taskchange_download", change.pk)
    assert f'<a href="{whole}">Download all</a>' in said
    assert "y" * 100_000 in admin_client.get(whole).getvalue().decode()


def test_of_many_fields_the_list_shows_the_first(admin_client: Client, make_task: Make) -> None:
    make_task(
        "a",
        "shop.cleanup",
        "0 2 * * *",
        category="x",
        jitter=5,
        timeout=5,
        max_retries=2,
        description="x",
        queue="slow",
    )
    assert "<div>and 3 more</div>" in text(admin_client.get(page("taskchange_changelist")))


def test_what_the_engine_did_has_its_reason(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    park(make_task("a", "shop.plain").state, "Its handler is gone.", now, using="default")
    said = text(admin_client.get(page("taskchange_changelist") + "?action__exact=parked"))
    assert "Its handler is gone." in said
    assert '<span class="st-badge st-parked">parked</span>' in said
    url = page("taskchange_change", TaskChange.objects.first().pk)
    assert "Its handler is gone." in text(admin_client.get(url))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["b: deleted", "b: created", "a: changed", "a: created"]),
        ("?action__exact=created", ["b: created", "a: created"]),
        ("?q=b", ["b: deleted", "b: created"]),
        ("?q=ada", ["a: changed"]),
        ("?task={a}", ["a: changed", "a: created"]),
        ("?task=0", []),
        ("?_facets=1", ["b: deleted", "b: created", "a: changed", "a: created"]),
    ],
)
def test_changes_are_filtered_and_found(
    admin_client: Client, make_task: Make, query: str, found: list[str]
) -> None:
    a = make_task("a", "shop.plain")
    a.category = "x"
    a.save(by="user:ada")
    make_task("b", "shop.plain").delete(by="user:grace")
    TaskChange.objects.filter(changed_by="code").update(changed_by="sync")
    assert listed(admin_client, "taskchange_changelist", query.format(a=a.pk)) == found


def test_a_change_outlives_its_task(admin_client: Client, make_task: Make) -> None:
    make_task("a", "shop.plain").delete()
    url = page("taskchange_change", TaskChange.objects.last().pk)
    assert "a (deleted)" in text(admin_client.get(url))
    url = page("taskchange_change", TaskChange.objects.first().pk)
    assert admin_client.get(url).status_code == 200


def test_changes_are_neither_made_nor_mended_nor_deleted(
    admin_client: Client, make_task: Make
) -> None:
    make_task("a", "shop.plain")
    change = TaskChange.objects.get()
    assert admin_client.get(page("taskchange_add")).status_code == 403
    assert admin_client.post(page("taskchange_change", change.pk), {}).status_code == 403
    url = page("taskchange_delete", change.pk)
    assert admin_client.post(url, {"post": "yes"}).status_code == 403
    assert "delete_selected" not in text(admin_client.get(page("taskchange_changelist")))
    assert TaskChange.objects.exists()


def test_a_task_page_lists_its_last_changes(admin_client: Client, make_task: Make) -> None:
    task = make_task("a", "shop.plain")
    make_task("b", "shop.plain")
    for number in range(12):
        task.category = f"category-{number:02}"
        task.save(by="user:ada")
    response = admin_client.get(page("task_change", task.pk))
    assert len(response.context["recent_changes"]) == 10
    said = text(response)
    news = [said.find(f"→ &quot;category-{number:02}") for number in range(11, -1, -1)]
    assert news == [*sorted(news[:10]), -1, -1]
    assert f'href="{page("taskchange_changelist")}?task={task.pk}"' in said


def test_whoever_may_not_see_changes_does_not(
    staff: Callable[..., Client], make_task: Make
) -> None:
    client, task = staff("view_task"), make_task("a", "shop.plain")
    assert "Latest changes" not in text(client.get(page("task_change", task.pk)))
    assert client.get(page("taskchange_changelist")).status_code == 403


def test_a_viewer_of_changes_sees_them(staff: Callable[..., Client], make_task: Make) -> None:
    client, task = staff("view_task", "view_taskchange"), make_task("a", "shop.plain")
    assert "Latest changes" in text(client.get(page("task_change", task.pk)))
    assert listed(client, "taskchange_changelist") == ["a: created"]


def test_a_task_without_changes_says_so(admin_client: Client, make_task: Make) -> None:
    task = make_task("a", "shop.plain")
    TaskChange.objects.all().delete()
    assert "No changes recorded." in text(admin_client.get(page("task_change", task.pk)))
