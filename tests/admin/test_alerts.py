"""Alerts: the list, the page with what was sent, and the page that sends a test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core import mail
from django.test import Client

from scheduled_tasks.admin.display import TO
from scheduled_tasks.models import Alert
from scheduled_tasks.monitoring.notifiers import Notifier
from scheduled_tasks.monitoring.notifiers.notification import Notification
from tests.admin.pages import listed, messages, page, sent_of, text

Make = Callable[..., Any]
Staff = Callable[..., Client]

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

PACKAGE = "scheduled_tasks.monitoring.notifiers"
HOUR = timedelta(hours=1)
SECRET = "hunter2xyz"


def fail(notification: Notification) -> None:
    raise ValueError(f"password={SECRET} is wrong")


class Nameless(Notifier):
    """A notifier that cannot say where it sends to."""

    def send(self, notification: Notification) -> None:
        """Do nothing."""

    def __str__(self) -> str:
        raise ValueError("I do not know.")


@pytest.fixture
def notifiers(settings: Any) -> None:
    """Configure one notifier that works, one that fails, and one of bad manners."""
    settings.SCHEDULED_TASKS = {
        "NOTIFIERS": {
            "ops": {"BACKEND": f"{PACKAGE}.EmailNotifier", "OPTIONS": {"to": "ops@shop.example"}},
            "broken": {"BACKEND": f"{PACKAGE}.CallableNotifier", "OPTIONS": {"function": fail}},
            "nameless": {"BACKEND": f"{__name__}.Nameless"},
        }
    }


def shown(client: Client, alert: Alert) -> str:
    response = client.get(page("alert_change", alert.pk))
    assert response.status_code == 200
    return text(response)


def test_open_alerts_come_first_then_the_newest(
    admin_client: Client, make_task: Make, make_alert: Make, now: datetime
) -> None:
    a, b = (make_task(name, "shop.plain") for name in "ab")
    make_alert(a, cleared_at=now, raised_at=now - HOUR)
    make_alert(b, condition="missed", cleared_at=now - HOUR, raised_at=now - 2 * HOUR)
    make_alert(a, condition="missed", raised_at=now - 3 * HOUR)
    make_alert(severity="critical", raised_at=now - 2 * HOUR)
    assert listed(admin_client, "alert_changelist") == [
        "worker lost: web-1:42",
        "missed slot: a",
        "failed: a",
        "missed slot: b",
    ]


def test_unknown_conditions_are_shown_and_cleared(
    admin_client: Client, make_task: Make, make_alert: Make
) -> None:
    """They are of newer code, before a rollback."""
    alert = make_alert(make_task("a", "shop.plain"), condition="disk_full")
    assert listed(admin_client, "alert_changelist") == ["disk_full: a"]
    assert "disk_full" in shown(admin_client, alert)
    assert clear(admin_client, alert) == ["1 alert cleared."]


def test_alerts_are_filtered_and_searched(
    admin_client: Client, make_task: Make, make_alert: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.plain")
    make_alert(task)
    make_alert(task, condition="missed", cleared_at=now)
    make_alert(severity="critical")
    for query, found in (
        ("?open=1", ["failed: nightly", "worker lost: web-1:42"]),
        ("?open=0", ["missed slot: nightly"]),
        (f"?task={task.pk}", ["failed: nightly", "missed slot: nightly"]),
        ("?condition__exact=missed", ["missed slot: nightly"]),
        ("?severity__exact=critical", ["worker lost: web-1:42"]),
        ("?q=night", ["failed: nightly", "missed slot: nightly"]),
        ("?q=web-1", ["worker lost: web-1:42"]),
    ):
        assert sorted(listed(admin_client, "alert_changelist", query)) == found, query


def test_the_list_shows_state_and_short_message(
    admin_client: Client, make_task: Make, make_alert: Make, now: datetime
) -> None:
    make_alert(make_task("nightly", "shop.plain"), message="x" * 200)
    make_alert(cleared_at=now, severity="critical")
    said = text(admin_client.get(page("alert_changelist")))
    for part in ("st-open", "st-cleared", "st-critical", "nightly", "web-1:42", "x" * 160 + "…"):
        assert part in said
    assert "x" * 161 not in said


def test_the_page_tells_what_helps(
    admin_client: Client, make_task: Make, make_alert: Make, make_execution: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.plain")
    execution = make_execution(task)
    alert = make_alert(
        task,
        message="Boom",
        details={"slot": "2026-03-01T11:00:00Z", "api_key": SECRET},
        execution_id=execution.pk,
        cleared_at=now,
        cleared_because="The task has succeeded.",
    )
    said = shown(admin_client, alert)
    for part in (
        "Boom",
        "2026-03-01T11:00:00Z",
        f'href="{page("execution_change", execution.pk)}">#{execution.pk}</a>',
        f'href="{page("task_change", task.pk)}">nightly</a>',
        "The task has succeeded.",
        "No message was sent about this alert.",
    ):
        assert part in said
    assert SECRET not in said
    assert 'name="_save"' not in said


def test_what_was_deleted_is_not_linked(
    admin_client: Client, make_task: Make, make_alert: Make
) -> None:
    task = make_task("nightly", "shop.plain")
    alert = make_alert(task, execution_id=4711)
    Alert.objects.update(task=None)
    said = shown(admin_client, alert)
    assert "#4711 (deleted)" in said
    assert "nightly (deleted)" in said
    assert page("execution_change", 4711) not in said


def test_alerts_cannot_be_changed_or_deleted(admin_client: Client, make_alert: Make) -> None:
    alert = make_alert()
    assert admin_client.get(page("alert_add")).status_code == 403
    for view in ("change", "delete"):
        answer = admin_client.post(page(f"alert_{view}", alert.pk), {"post": "yes"})
        assert answer.status_code == 403
    assert Alert.objects.get().open_key


def test_the_page_shows_what_was_sent(
    admin_client: Client, make_alert: Make, now: datetime
) -> None:
    alert = make_alert()
    sent_of(alert)
    sent_of(alert, transport="mail", target="ada@shop.example", finished_at=None, delivered=False)
    sent_of(alert, event="reminder", target="chat", delivered=False, error="No route", attempts=17)
    sent_of(alert, event="cleared", target="pager", delivered=False, attempts=0, error="Cleared.")
    response = admin_client.get(page("alert_change", alert.pk))
    rows = response.context["deliveries"].shown
    assert [(row.event, row.receiver, row.attempts, row.error) for row in rows] == [
        ("raised", "ops", 1, ""),
        ("raised", "ada@shop.example", 1, ""),
        ("reminder", "chat", 17, "No route"),
        ("cleared", "pager", 0, "Cleared."),
    ]
    states = ("st-sent", "st-waiting", "st-given-up", "st-withdrawn")
    for row, state in zip(rows, states, strict=True):
        assert state in row.state
    assert "No route" in text(response)


def test_the_url_of_a_heartbeat_is_never_shown(admin_client: Client, make_alert: Make) -> None:
    alert = make_alert()
    sent_of(alert, transport="heartbeat", target=f"https://hc.example/{SECRET}")
    said = shown(admin_client, alert)
    assert "heartbeat" in said
    assert SECRET not in said


def test_only_the_newest_messages_are_shown(admin_client: Client, make_alert: Make) -> None:
    alert = make_alert()
    for number in range(51):
        sent_of(alert, error=f"error {number}.")
    said = shown(admin_client, alert)
    assert "Only the latest 50 messages are shown." in said
    assert "error 50." in said
    assert "error 0." not in said


@pytest.mark.parametrize(
    ("permissions", "sees_messages", "may_test"),
    [
        (["view_alert"], False, False),
        (["view_alert", "view_delivery"], True, False),
        (["view_alert", "manage_alert"], False, True),
    ],
)
def test_messages_and_tests_are_permissions(
    staff: Staff, make_alert: Make, permissions: list[str], *, sees_messages: bool, may_test: bool
) -> None:
    alert, client = make_alert(), staff(*permissions)
    sent_of(alert, target="chat")
    assert ("chat" in shown(client, alert)) is sees_messages
    assert ("Send test alert" in text(client.get(page("alert_changelist")))) is may_test
    assert (client.get(page("alert_test")).status_code == 200) is may_test
    assert (client.post(page("alert_test")).status_code == 200) is may_test


@pytest.mark.usefixtures("notifiers")
def test_a_test_alert_is_sent_on_request(admin_client: Client) -> None:
    said = text(admin_client.get(page("alert_test")))
    assert f"ops {TO} ops@shop.example" in said
    assert mail.outbox == []
    response = admin_client.post(page("alert_test"), {"notifier": "ops"})
    assert response.url == page("alert_test")
    assert messages(response) == ["The notifier “ops” has sent a test alert to ops@shop.example."]
    [message] = mail.outbox
    assert message.to == ["ops@shop.example"]


@pytest.mark.usefixtures("notifiers")
def test_a_failed_test_says_why(admin_client: Client) -> None:
    response = admin_client.post(page("alert_test"), {"notifier": "broken"}, follow=True)
    assert (
        "The notifier “broken” could not send the test alert: ValueError: password=[redacted]"
        in text(response)
    )
    assert SECRET not in text(response)


@pytest.mark.usefixtures("notifiers")
def test_a_notifier_without_a_name_works(admin_client: Client) -> None:
    assert admin_client.get(page("alert_test")).status_code == 200
    [said] = messages(admin_client.post(page("alert_test"), {"notifier": "nameless"}))
    assert "“nameless” has sent a test alert" in said


@pytest.mark.usefixtures("notifiers")
@pytest.mark.parametrize("name", ["nope", "", "\0", "o" * 9_999])
def test_an_unknown_notifier_is_no_choice(admin_client: Client, name: str) -> None:
    response = admin_client.post(page("alert_test"), {"notifier": name})
    assert response.status_code == 200
    assert list(response.context["form"].errors) == ["notifier"]
    assert mail.outbox == []


@pytest.mark.usefixtures("notifiers")
def test_a_test_needs_the_token_of_the_form(admin_user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(page("alert_test"), {"notifier": "ops"}).status_code == 403
    assert mail.outbox == []


@pytest.mark.parametrize(
    ("configured", "says"),
    [
        ({}, "has no notifiers."),
        ({"ops": {"BACKEND": "nope.Nope"}}, "cannot be imported"),
    ],
)
def test_the_page_says_why_nothing_can_be_tested(
    admin_client: Client, settings: Any, configured: dict[str, Any], says: str
) -> None:
    settings.SCHEDULED_TASKS = {"NOTIFIERS": configured}
    for answer in (
        admin_client.get(page("alert_test")),
        admin_client.post(page("alert_test"), {"notifier": "ops"}),
    ):
        assert says in text(answer)
        assert 'type="submit" value="Send' not in text(answer)


def clear(client: Client, *alerts: Alert, **posted: Any) -> str:
    """Clear ticked alerts; return the messages."""
    ids = [str(alert.pk) for alert in alerts]
    response = client.post(
        page("alert_changelist"),
        {"action": "clear", "_selected_action": ids, **posted},
        follow=True,
    )
    return messages(response)


def test_open_alerts_are_cleared_by_hand(
    admin_client: Client, make_task: Make, make_alert: Make, now: datetime
) -> None:
    task = make_task("nightly", "shop.plain")
    alert, over = make_alert(task), make_alert(cleared_at=now, cleared_because="It is over.")
    other = make_alert(subject="web-2:42")
    assert clear(admin_client, alert, over) == ["1 alert cleared."]
    alert.refresh_from_db()
    assert (alert.open_key, alert.cleared_at) == (None, now)
    assert alert.cleared_because == "Cleared by user:admin."
    assert LogEntry.objects.get().object_id == str(alert.pk)
    assert "Cleared by user:admin." in shown(admin_client, alert)
    over.refresh_from_db()
    assert over.cleared_because == "It is over."
    assert list(Alert.objects.open()) == [other]
    assert clear(admin_client, over) == ["0 alerts cleared."]


def test_broken_settings_are_said_when_clearing(
    admin_client: Client, make_alert: Make, settings: Any
) -> None:
    alert = make_alert()
    sent_of(alert)
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "ALERTS": [{"too": "ops"}]}
    [said] = clear(admin_client, alert)
    assert "did you mean" in said
    assert list(Alert.objects.open()) == [alert]


def test_all_alerts_are_cleared_in_portions(
    admin_client: Client, make_alert: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduled_tasks.admin.alerts.admin.MAX_CLEARED", 2)
    alerts = [make_alert(subject=f"web-{number}") for number in range(3)]
    assert clear(admin_client, alerts[0], select_across="1") == [
        "2 alerts cleared.",
        "More are selected. Clear them again to clear the rest.",
    ]
    assert clear(admin_client, alerts[0], select_across="1") == ["1 alert cleared."]


def test_clearing_needs_its_permission(staff: Staff, make_alert: Make) -> None:
    alert = make_alert()
    assert clear(staff("view_alert"), alert) == []
    assert Alert.objects.open().count() == 1


@pytest.mark.parametrize("given", ["1", "x", "\0", "0b7e1c9e-58a6-4f0e-a6cd-3f1c9f0e7a11"])
def test_a_hostile_selection_clears_nothing(
    admin_client: Client, make_alert: Make, given: str
) -> None:
    make_alert()
    clear(admin_client, _selected_action=[given])
    assert Alert.objects.open().count() == 1
