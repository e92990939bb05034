"""Maintenance windows: the form, the list, and the button that ends one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from scheduled_tasks.models import Delivery, MaintenanceWindow
from tests.admin.pages import as_typed, messages, page, sent_of, text

Make = Callable[..., Any]
Staff = Callable[..., Client]

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

HOUR = timedelta(hours=1)


@pytest.fixture
def typed(now: datetime, later: datetime) -> dict[str, str]:
    """Return the form of a window as a browser posts it."""
    return {**as_typed(starts_at=now, ends_at=later), "task": "", "reason": "The database moves."}


def held(make_alert: Make, make_task: Make, now: datetime) -> Delivery:
    """Write a message that waits for the end of a window of ``make_window``."""
    return sent_of(
        make_alert(make_task("held", "shop.plain")),
        finished_at=None,
        delivered=False,
        attempts=0,
        due_at=now + HOUR,
    )


def due(message: Delivery) -> datetime:
    message.refresh_from_db()
    return message.due_at


def test_a_window_is_planned_in_the_users_name(
    admin_client: Client, typed: dict[str, str], make_task: Make, now: datetime, later: datetime
) -> None:
    task = make_task("nightly", "shop.plain")
    form = admin_client.get(page("maintenancewindow_add")).context["adminform"].form
    assert form["starts_at"].value() == now
    response = admin_client.post(page("maintenancewindow_add"), typed | {"task": str(task.pk)})
    assert response.status_code == 302
    window = MaintenanceWindow.objects.get()
    assert (window.starts_at, window.ends_at, window.task) == (now, later, task)
    assert (window.reason, window.created_by) == ("The database moves.", "user:admin")
    assert LogEntry.objects.get().object_id == str(window.pk)


@pytest.mark.parametrize(
    ("fields", "wrong", "says"),
    [
        ({"ends_at_0": "2020-01-01"}, "ends_at", "future"),
        ({"ends_at_0": "9999-12-31"}, "ends_at", "1900 and 9000"),
        ({"ends_at_0": "", "ends_at_1": ""}, "ends_at", "required"),
        ({"starts_at_0": "2026-03-09"}, "ends_at", "after the start"),
        ({"starts_at_0": "nope"}, "starts_at", "valid date"),
        ({"reason": " "}, "reason", "required"),
        ({"reason": "x" * 256}, "reason", "255"),
        ({"task": "9" * 29}, "task", "valid choice"),
    ],
)
def test_an_invalid_window_is_refused(
    admin_client: Client, typed: dict[str, str], fields: dict[str, str], wrong: str, says: str
) -> None:
    response = admin_client.post(page("maintenancewindow_add"), typed | fields)
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [wrong]
    assert says in " ".join(errors[wrong])
    assert not MaintenanceWindow.objects.exists()


def test_the_reason_is_stored_without_secrets(admin_client: Client, typed: dict[str, str]) -> None:
    reason = {"reason": "api_key=hunter2xyz moves"}
    response = admin_client.post(page("maintenancewindow_add"), typed | reason)
    assert MaintenanceWindow.objects.get().reason == "api_key=[redacted] moves"
    assert "hunter2xyz" not in " ".join(messages(response))
    assert "hunter2xyz" not in str(vars(LogEntry.objects.get()))
    assert "hunter2xyz" not in text(admin_client.get(page("maintenancewindow_changelist")))


def test_the_list_shows_each_state(
    admin_client: Client, make_window: Make, make_task: Make, now: datetime
) -> None:
    make_window(task=make_task("nightly", "shop.plain"))
    make_window(starts_at=now + HOUR, ends_at=now + 2 * HOUR)
    make_window(ends_at=now)
    said = text(admin_client.get(page("maintenancewindow_changelist")))
    for part in (">active<", ">coming<", ">over<", "nightly", "everything", "Deploy"):
        assert part in said


def test_what_is_held_follows_a_changed_end(  # noqa: PLR0917
    admin_client: Client,
    make_window: Make,
    make_alert: Make,
    make_task: Make,
    now: datetime,
    later: datetime,
    settings: Any,
) -> None:
    configure_ops(settings)
    window, message = make_window(), held(make_alert, make_task, now)
    typed = {**as_typed(starts_at=window.starts_at, ends_at=later), "task": "", "reason": "Longer"}
    response = admin_client.post(page("maintenancewindow_change", window.pk), typed)
    assert response.status_code == 302
    assert due(message) == later
    window.refresh_from_db()
    assert (window.reason, window.created_by) == ("Longer", "")


def configure_ops(settings: Any) -> None:
    backend = "scheduled_tasks.monitoring.notifiers.EmailNotifier"
    settings.SCHEDULED_TASKS = {
        "NOTIFIERS": {"ops": {"BACKEND": backend, "OPTIONS": {"to": "ops@shop.example"}}}
    }


def test_a_button_ends_an_active_window(  # noqa: PLR0917
    admin_client: Client,
    make_window: Make,
    make_alert: Make,
    make_task: Make,
    now: datetime,
    settings: Any,
) -> None:
    configure_ops(settings)
    window, message = make_window(), held(make_alert, make_task, now)
    end = page("maintenancewindow_end", window.pk)
    assert f'action="{end}"' in text(admin_client.get(page("maintenancewindow_change", window.pk)))
    assert admin_client.get(end).status_code == 405
    response = admin_client.post(end)
    assert response.url == page("maintenancewindow_changelist")
    assert messages(response) == ["The maintenance window has ended."]
    window.refresh_from_db()
    assert window.ends_at == due(message) == now
    assert LogEntry.objects.get().change_message == "Ended."
    admin_client.cookies.pop("messages")
    assert messages(admin_client.post(end)) == ["It was not in force."]


def test_a_coming_window_is_changed_and_not_ended(
    admin_client: Client, make_window: Make, now: datetime, later: datetime
) -> None:
    window = make_window(starts_at=now + HOUR, ends_at=later)
    url = page("maintenancewindow_change", window.pk)
    assert "End now" not in text(admin_client.get(url))
    typed = {**as_typed(starts_at=now + 2 * HOUR, ends_at=later), "task": "", "reason": "Deploy"}
    assert admin_client.post(url, typed).status_code == 302
    window.refresh_from_db()
    assert window.starts_at == now + 2 * HOUR


def test_unchanged_times_stay_exactly_as_they_are(
    admin_client: Client, make_window: Make, later: datetime
) -> None:
    exact = later + timedelta(microseconds=123_456)
    window = make_window(ends_at=exact)
    typed = {**as_typed(starts_at=window.starts_at, ends_at=exact), "task": "", "reason": "Other"}
    assert admin_client.post(page("maintenancewindow_change", window.pk), typed).status_code == 302
    window.refresh_from_db()
    assert (window.ends_at, window.reason) == (exact, "Other")


def test_a_window_that_is_over_cannot_be_changed(
    admin_client: Client, make_window: Make, typed: dict[str, str], now: datetime
) -> None:
    window = make_window(ends_at=now)
    url = page("maintenancewindow_change", window.pk)
    said = text(admin_client.get(url))
    assert "Deploy" in said
    assert 'name="_save"' not in said
    assert "End now" not in said
    assert admin_client.post(url, typed).status_code == 403


@pytest.mark.parametrize("way", ["button", "list"])
def test_deleting_a_window_releases_its_messages(  # noqa: PLR0917
    admin_client: Client,
    make_window: Make,
    make_alert: Make,
    make_task: Make,
    now: datetime,
    settings: Any,
    way: str,
) -> None:
    configure_ops(settings)
    window, message = make_window(), held(make_alert, make_task, now)
    if way == "button":
        url, data = page("maintenancewindow_delete", window.pk), {"post": "yes"}
    else:
        url = page("maintenancewindow_changelist")
        chosen = {"action": "delete_selected", "_selected_action": str(window.pk)}
        data = {"post": "yes", **chosen}
    assert admin_client.post(url, data).status_code == 302
    assert not MaintenanceWindow.objects.exists()
    assert due(message) == now


@pytest.mark.parametrize(
    ("permission", "may_add", "may_change"),
    [
        ("view_maintenancewindow", False, False),
        ("add_maintenancewindow", True, False),
        ("change_maintenancewindow", False, True),
    ],
)
def test_windows_have_the_usual_permissions(
    staff: Staff,
    make_window: Make,
    typed: dict[str, str],
    now: datetime,
    permission: str,
    *,
    may_add: bool,
    may_change: bool,
) -> None:
    client, window = staff(permission), make_window()
    added = client.post(page("maintenancewindow_add"), typed)
    assert (added.status_code == 302) is may_add
    offered = "End now" in text(client.get(page("maintenancewindow_change", window.pk)))
    assert offered is may_change
    ended = client.post(page("maintenancewindow_end", window.pk))
    assert (ended.status_code == 302) is may_change
    window.refresh_from_db()
    assert (window.ends_at == now) is may_change
    assert client.post(page("maintenancewindow_delete", window.pk)).status_code == 403
