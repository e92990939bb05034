"""Global pauses: the banner, the page that starts one, the button that ends it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Pause
from tests.admin.pages import as_typed, messages, page, text

Begin = Callable[..., Pause]
Staff = Callable[..., Client]

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]


@pytest.fixture
def begin(now: datetime) -> Begin:
    """Return a function that starts a global pause five minutes ago."""

    def make(**fields: Any) -> Pause:
        began = now - timedelta(minutes=5)
        return begin_pause(began, **{"by": "user:ada", **fields})

    return make


@pytest.fixture
def typed(later: datetime) -> dict[str, str]:
    """Return the form of a global pause as a browser posts it."""
    return {**as_typed(until=later), "reason": "The database moves."}


def banner(client: Client, view: str = "task_changelist") -> str:
    _, _, rest = text(client.get(page(view))).partition("st-paused-banner")
    return rest.partition("</div>")[0]


def test_the_task_list_offers_a_pause_unless_paused(admin_client: Client) -> None:
    said = text(admin_client.get(page("task_changelist")))
    assert "All tasks are paused" not in said
    assert f'<a href="{page("pause_add")}">Pause all tasks…</a>' in said


@pytest.mark.parametrize("view", ["task_changelist", "pause_changelist"])
def test_a_banner_shows_end_reason_and_user(
    admin_client: Client, begin: Begin, later: datetime, view: str
) -> None:
    begin(until=later, reason="The <database> moves.")
    said = banner(admin_client, view)
    for part in (
        "All tasks are paused until",
        "2026-03-08 12:00:00 UTC",
        ": The &lt;database&gt; moves.",
        "5 minutes ago",
        "by user:ada",
        f'action="{page("pause_resume")}"',
    ):
        assert part in said
    assert page("pause_add") + '">Pause all tasks' not in said


def test_a_pause_without_end_or_reason_shows_neither(admin_client: Client, begin: Begin) -> None:
    begin(by="")
    said = banner(admin_client)
    assert "All tasks are paused." in said
    assert "until" not in said
    assert " by " not in said


def test_ended_pauses_show_no_banner(admin_client: Client, begin: Begin, now: datetime) -> None:
    begin(until=now - timedelta(minutes=1))
    begin().delete()
    Pause.objects.create(begun_at=now + timedelta(hours=1))
    assert banner(admin_client) == ""


def test_all_tasks_are_paused_in_the_users_name(
    admin_client: Client, typed: dict[str, str], now: datetime, later: datetime
) -> None:
    assert admin_client.get(page("pause_add")).status_code == 200
    response = admin_client.post(page("pause_add"), typed)
    assert response.status_code == 302
    pause = Pause.objects.get()
    assert (pause.until, pause.reason) == (later, "The database moves.")
    assert (pause.begun_at, pause.begun_by) == (now, "user:admin")
    assert list(Pause.objects.in_force(now)) == [pause]
    assert LogEntry.objects.get().object_id == str(pause.pk)


def test_a_pause_replaces_the_active_one(
    admin_client: Client, begin: Begin, typed: dict[str, str], now: datetime
) -> None:
    before = begin()
    admin_client.post(page("pause_add"), {**typed, "until_0": "", "until_1": ""})
    before.refresh_from_db()
    assert before.ended_by == "user:admin"
    [pause] = Pause.objects.in_force(now)
    assert pause.until is None


@pytest.mark.parametrize(
    ("fields", "wrong", "says"),
    [
        ({"until_0": "2020-01-01"}, "until", "future"),
        ({"until_0": "9999-12-31"}, "until", "1900 and 9000"),
        ({"until_1": ""}, "until", "valid time"),
        ({"reason": "x" * 256}, "reason", "255"),
    ],
)
def test_an_invalid_pause_is_refused(
    admin_client: Client, typed: dict[str, str], fields: dict[str, str], wrong: str, says: str
) -> None:
    response = admin_client.post(page("pause_add"), typed | fields)
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [wrong]
    assert says in errors[wrong][0]
    assert not Pause.objects.exists()


def test_a_button_resumes_all_tasks(admin_client: Client, begin: Begin) -> None:
    pause = begin()
    response = admin_client.post(page("pause_resume"))
    assert response.status_code == 302
    assert response.url == page("task_changelist")
    assert messages(response) == ["All tasks resumed."]
    pause.refresh_from_db()
    assert pause.ended_by == "user:admin"
    assert LogEntry.objects.get().change_message == "Resumed."
    admin_client.cookies.pop("messages")
    assert messages(admin_client.post(page("pause_resume"))) == ["There was no global pause."]


def test_a_get_request_does_not_resume(admin_client: Client, begin: Begin, now: datetime) -> None:
    begin()
    assert admin_client.get(page("pause_resume")).status_code == 405
    assert Pause.objects.in_force(now).exists()


def test_pauses_cannot_be_changed_or_deleted(
    admin_client: Client, begin: Begin, typed: dict[str, str]
) -> None:
    pause = begin(reason="Deploy")
    admin_client.post(page("pause_resume"))
    said = text(admin_client.get(page("pause_changelist")))
    for part in ("Deploy", "user:ada", "by user:admin", ">ended<"):
        assert part in said
    url = page("pause_change", pause.pk)
    shown = text(admin_client.get(url))
    assert "Deploy" in shown
    assert 'name="_save"' not in shown
    assert admin_client.post(url, typed).status_code == 403
    assert admin_client.post(page("pause_delete", pause.pk), {"post": "yes"}).status_code == 403
    assert Pause.objects.get().reason == "Deploy"


def test_an_active_pause_says_so(admin_client: Client, begin: Begin) -> None:
    begin()
    said = text(admin_client.get(page("pause_changelist")))
    assert ">active<" in said
    assert "until resumed" in said


@pytest.mark.parametrize(
    ("permissions", "may_add", "may_resume"),
    [
        (["view_task", "view_pause"], False, False),
        (["view_task", "add_pause"], True, False),
        (["view_task", "change_pause"], False, True),
    ],
)
def test_pausing_and_resuming_are_permissions(  # noqa: PLR0917
    staff: Staff,
    begin: Begin,
    typed: dict[str, str],
    now: datetime,
    permissions: list[str],
    may_add: bool,  # noqa: FBT001
    may_resume: bool,  # noqa: FBT001
) -> None:
    client = staff(*permissions)
    offered = page("pause_add") in text(client.get(page("task_changelist")))
    assert offered is may_add
    assert (client.post(page("pause_add"), typed).status_code == 302) is may_add
    assert Pause.objects.exists() is may_add
    begin()
    assert ('type="submit" class="button"' in banner(client)) is may_resume
    assert (client.post(page("pause_resume")).status_code == 302) is may_resume
    assert Pause.objects.in_force(now).exists() is not may_resume


@pytest.mark.parametrize(
    ("permissions", "leads_to"),
    [
        (["change_pause", "view_task"], "/admin/scheduled_tasks/task/"),
        (["change_pause"], "/admin/scheduled_tasks/pause/"),
    ],
)
def test_resuming_redirects_to_a_permitted_page(
    staff: Staff, begin: Begin, permissions: list[str], leads_to: str
) -> None:
    begin()
    client = staff(*permissions)
    response = client.post(page("pause_resume"))
    assert response.url == leads_to
    assert client.get(response.url).status_code == 200


def test_users_who_may_see_tasks_see_the_banner(staff: Staff, begin: Begin) -> None:
    begin(reason="Deploy")
    client = staff("view_task")
    assert "Deploy" in banner(client)
    assert page("pause_changelist") not in banner(client)
    assert client.get(page("pause_changelist")).status_code == 403
    assert client.post(page("pause_resume")).status_code == 403
