"""The form of a task: what it saves and what it leaves as it was."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from scheduled_tasks.lifecycle.parking import restart_clock
from scheduled_tasks.models import Task, TaskChange
from tests.admin.forms import add, change
from tests.admin.pages import as_typed

Make = Callable[..., Any]

POLICIES = {
    "max_retries": "3",
    "retry_delay": "5",
    "retry_backoff": "1.5",
    "retry_max_delay": "60",
    "on_lost": "fail",
    "max_losses": "1",
    "misfire_policy": "all",
    "misfire_grace": "900",
    "catch_up_limit": "7",
    "overlap_policy": "buffer_all",
    "jitter": "30",
    "pause_reason": "The warehouse moves.",
}


def test_a_task_is_made_with_its_clock(admin_client: Client) -> None:
    response = add(admin_client, payload='{"days": 7}', category="mail")
    assert response.status_code == 302
    task = Task.objects.get()
    assert (task.name, task.handler, task.schedule) == ("nightly", "shop.cleanup", "0 2 * * *")
    assert (task.payload, task.category, task.origin) == ({"days": 7}, "mail", Task.Origin.ADMIN)
    assert task.state.next_run_at == task.next_slot(task.updated_at)


def test_limits_are_saved_and_taken_away(admin_client: Client) -> None:
    add(admin_client, timeout="60", memory_limit_mb="100", executor="thread")
    task = Task.objects.get()
    assert (task.timeout, task.memory_limit_mb, task.executor) == (60, 100, "thread")
    assert change(admin_client, task).status_code == 302
    task.refresh_from_db()
    assert (task.timeout, task.memory_limit_mb, task.executor) == (None, None, "")


def test_all_policies_are_saved(admin_client: Client, later: datetime) -> None:
    moments = {
        "starts_at": later,
        "ends_at": later + timedelta(days=365),
        "paused_until": later + timedelta(days=30, minutes=30),
    }
    assert add(admin_client, **POLICIES, **as_typed(**moments)).status_code == 302
    task = Task.objects.get()
    assert {name: str(getattr(task, name)) for name in POLICIES} == POLICIES
    assert {name: getattr(task, name) for name in moments} == moments
    assert task.state.next_run_at == later + timedelta(hours=13)


def test_unchanged_times_keep_their_fractions_of_a_second(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    moment = later + timedelta(seconds=15, microseconds=123456)
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", ends_at=moment)
    response = change(
        admin_client,
        task,
        timezone="UTC",
        description="Only words.",
        **as_typed(ends_at=moment),
    )
    assert response.status_code == 302
    assert Task.objects.get().ends_at == moment
    assert set(TaskChange.objects.first().fields) == {"description"}


def test_a_moment_that_has_passed_may_stay(admin_client: Client, make_task: Make) -> None:
    task = make_task("once", "shop.cleanup", "at 2020-01-01 09:00")
    unchanged = {"schedule": task.schedule, "timezone": task.timezone}
    assert change(admin_client, task, description="Done.", **unchanged).status_code == 302
    assert Task.objects.get().description == "Done."


def test_a_pause_that_has_passed_may_stay(
    admin_client: Client, make_task: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    Task.objects.update(paused_until=now.replace(year=2020))
    typed = {"paused_until_0": "2020-03-01", "paused_until_1": "12:00:00"}
    assert change(admin_client, task, category="mail", **typed).status_code == 302
    task.refresh_from_db()
    assert (task.category, task.paused_until) == ("mail", now.replace(year=2020))


def test_an_empty_payload_means_no_arguments(admin_client: Client) -> None:
    assert add(admin_client, payload="").status_code == 302
    assert Task.objects.get().payload == {}


def test_a_manual_task_may_lack_arguments(admin_client: Client) -> None:
    assert add(admin_client, handler="shop.export", schedule="").status_code == 302
    assert Task.objects.get().state.next_run_at is None


def test_an_edit_of_words_leaves_the_clock(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    task = make_task("hourly", "shop.cleanup", "every 1 hour")
    restart_clock(task.state, later, using="default")
    anchor, due = task.anchor, task.state.next_run_at
    response = change(
        admin_client,
        task,
        schedule="every 1 hour",
        timezone=task.timezone,
        description="Only words.",
        **as_typed(anchor=anchor),
    )
    assert response.status_code == 302
    task = Task.objects.get()
    assert task.description == "Only words."
    assert (task.anchor, task.state.next_run_at) == (anchor, due)


def test_editing_the_schedule_restarts_the_clock(
    admin_client: Client, make_task: Make, later: datetime
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    schedule = f"at {later:%Y-%m-%d %H:%M}"
    assert change(admin_client, task, schedule=schedule).status_code == 302
    assert Task.objects.get().state.next_run_at == later - timedelta(hours=1)


def test_the_form_cannot_change_a_declared_tasks_identity(
    admin_client: Client, make_task: Make
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *", origin=Task.Origin.CODE)
    assert change(admin_client, task, handler="shop.plain", description="x").status_code == 302
    task = Task.objects.get()
    assert (task.name, task.handler, task.description) == ("nightly", "shop.cleanup", "x")


def test_a_save_keeps_concurrent_changes_to_other_fields(
    admin_client: Client, make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("nightly", "shop.cleanup", "0 2 * * *")
    save = Task.save

    def meanwhile(self: Task, *args: Any, **options: Any) -> None:
        Task.objects.update(description="by sync", declared={"description": "by sync"})
        save(self, *args, **options)

    monkeypatch.setattr(Task, "save", meanwhile)
    assert change(admin_client, task, category="mail").status_code == 302
    task.refresh_from_db()
    assert (task.category, task.description) == ("mail", "by sync")
    assert task.declared == {"description": "by sync"}
