"""Pauses of tasks: the page that starts one, the action that ends it, and their display."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks.lifecycle import bulk_editing
from scheduled_tasks.models import Task, TaskChange, TaskState
from tests.admin.pages import act, as_typed, messages, page, text

pytestmark = pytest.mark.any_database

Make = Callable[..., Any]


@pytest.fixture
def pause(later: datetime) -> Callable[..., Any]:
    """Return a function that pauses tasks until ``later`` by default."""

    def post(client: Client, *tasks: Task, **fields: str) -> Any:
        typed = as_typed(paused_until=later)
        return act(client, "pause", *tasks, **{"pause": "Pause", **typed, **fields})

    return post


def paused() -> list[str]:
    return list(Task.objects.exclude(paused_until=None).values_list("name", flat=True))


def test_the_action_asks_for_end_and_reason(admin_client: Client, make_task: Make) -> None:
    a, b = make_task("a", "shop.plain"), make_task("b", "shop.plain")
    make_task("c", "shop.plain")
    response = act(admin_client, "pause", a, b)
    assert response.status_code == 200
    said = text(response)
    assert "Pause 2 tasks" in said
    assert said.count('name="_selected_action"') == 1
    assert f'<input type="hidden" name="selected" value="{a.pk}-{b.pk}">' in said
    assert "errornote" not in said
    assert paused() == []


def test_selected_tasks_are_paused_in_the_users_name(
    admin_client: Client, make_task: Make, pause: Make, later: datetime
) -> None:
    a, b = make_task("a", "shop.plain", "0 2 * * *"), make_task("b", "shop.plain")
    make_task("c", "shop.plain")
    due = a.state.next_run_at
    response = pause(admin_client, a, b, pause_reason="The warehouse moves.")
    assert response.status_code == 302
    assert messages(response) == ["2 tasks paused."]
    assert paused() == ["a", "b"]
    a.refresh_from_db()
    assert (a.paused_until, a.pause_reason) == (later, "The warehouse moves.")
    assert TaskState.objects.get(pk=a.pk).next_run_at >= due
    change = TaskChange.objects.filter(task=a, action="changed").get()
    assert change.changed_by == "user:admin"
    assert set(change.fields) == {"paused_until", "pause_reason"}
    assert {entry.change_message for entry in LogEntry.objects.all()} == {"Paused."}


def test_a_deleted_task_keeps_no_other_from_pausing(
    admin_client: Client, make_task: Make, pause: Make
) -> None:
    a, b = make_task("a", "shop.plain"), make_task("b", "shop.plain")
    Task.objects.filter(pk=a.pk).delete()
    assert messages(pause(admin_client, a, b)) == ["1 has been deleted.", "1 task paused."]
    assert paused() == ["b"]


@pytest.mark.parametrize(
    ("fields", "wrong", "says"),
    [
        ({"paused_until_0": "", "paused_until_1": ""}, "paused_until", "required"),
        ({"paused_until_0": "2026-02-30"}, "paused_until", "valid date"),
        ({"paused_until_0": "2020-01-01"}, "paused_until", "future"),
        ({"paused_until_0": "9999-12-31"}, "paused_until", "1900 and 9000"),
        ({"pause_reason": "x" * 256}, "pause_reason", "255"),
        ({"pause_reason": "a\0b"}, "pause_reason", "Null characters"),
    ],
)
def test_an_invalid_pause_is_refused(  # noqa: PLR0917
    admin_client: Client,
    make_task: Make,
    pause: Make,
    fields: dict[str, str],
    wrong: str,
    says: str,
) -> None:
    response = pause(admin_client, make_task("a", "shop.plain"), **fields)
    assert response.status_code == 200
    errors = response.context["form"].errors
    assert list(errors) == [wrong]
    assert says in errors[wrong][0]
    assert "Please correct the error below." in text(response)
    assert paused() == []


def test_a_pause_saves_no_other_field(
    admin_client: Client, make_task: Make, pause: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("a", "shop.plain", "0 2 * * *")
    original = bulk_editing.write

    def meanwhile(*args: Any, **options: Any) -> None:
        Task.objects.update(category="changed meanwhile")
        original(*args, **options)

    monkeypatch.setattr(bulk_editing, "write", meanwhile)
    pause(admin_client, task)
    task.refresh_from_db()
    assert task.category == "changed meanwhile"
    assert paused() == ["a"]


def test_pauses_end_early(
    admin_client: Client, make_task: Make, now: datetime, later: datetime
) -> None:
    a = make_task("a", "shop.plain", paused_until=later, pause_reason="Moving")
    over = make_task("b", "shop.plain", paused_until=now - timedelta(days=1))
    never = make_task("c", "shop.plain")
    assert messages(act(admin_client, "end_pause", a, over, never)) == ["1 task resumed."]
    a.refresh_from_db()
    assert (a.paused_until, a.pause_reason) == (None, "")
    assert TaskChange.objects.first().changed_by == "user:admin"
    assert LogEntry.objects.get().change_message == "Resumed."
    assert messages(act(admin_client, "end_pause", a)) == ["0 tasks resumed."]


def test_pausing_needs_the_change_permission(
    staff: Callable[..., Client], make_task: Make, pause: Make
) -> None:
    client, task = staff("view_task", "run_task"), make_task("a", "shop.plain")
    pause(client, task)
    assert paused() == []


def test_the_list_shows_the_end_and_the_reason(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    make_task("a", "shop.plain", "0 2 * * *", paused_until=later, pause_reason="It moves.")
    said = text(admin_client.get(page("task_changelist")))
    assert '<span class="st-badge st-paused">paused until</span>' in said
    assert "2026-03-08 12:00:00 UTC" in said
    assert '<span class="st-remark">It moves.</span>' in said


def test_a_pause_without_effect_is_not_shown(
    admin_client: Client, make_task: Make, now: datetime, later: datetime
) -> None:
    make_task("a", "shop.plain", "0 2 * * *", paused_until=now - timedelta(seconds=1))
    make_task("b", "shop.plain", "0 2 * * *", paused_until=later, enabled=False)
    make_task("c", "shop.plain", paused_until=later)
    assert "st-paused" not in text(admin_client.get(page("task_changelist")))


def test_a_paused_task_shows_runs_after_the_pause(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    task = make_task("a", "shop.plain", "0 12 * * *", paused_until=later, pause_reason="It moves.")
    said = text(admin_client.get(page("task_change", task.pk)))
    assert "Paused until <span" in said
    assert ": It moves." in said
    slots = [f"2026-03-{day:02} 12:00:00 UTC" for day in range(8, 13)]
    for slot in slots:
        assert f"{slot}</time>" in said
    Task.objects.update(pause_reason="", declared={"category": "x"})
    said = text(admin_client.get(page("task_change", task.pk)))
    assert "</span></span>. Changed from code: category." in said


def test_next_runs_lie_within_the_window(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    task = make_task(
        "a", "shop.plain", "0 12 * * *", starts_at=later, ends_at=later + timedelta(days=2)
    )
    said = text(admin_client.get(page("task_change", task.pk)))
    assert said.count("<li><span") == 2
    assert "2026-03-09 12:00:00 UTC" in said


@pytest.mark.parametrize(("query", "found"), [("1", ["a"]), ("0", ["b", "c"])])
def test_paused_tasks_can_be_filtered(  # noqa: PLR0917
    admin_client: Client,
    make_task: Make,
    now: datetime,
    later: datetime,
    query: str,
    found: list[str],
) -> None:
    make_task("a", "shop.plain", paused_until=later)
    make_task("b", "shop.plain", paused_until=now - timedelta(days=1))
    make_task("c", "shop.plain")
    listed = admin_client.get(page("task_changelist") + f"?paused={query}")
    assert [task.name for task in listed.context["cl"].result_list] == found
