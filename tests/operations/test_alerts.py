"""Alerts that are cleared by hand, and a test alert, sent at once."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidSettings, InvalidTask, NotSent, UnknownNotifier
from scheduled_tasks.models import Alert, Delivery
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.monitoring.notifiers.notification import Notification
from scheduled_tasks.monitoring.outbox.sending import MAX_SENDING_SECONDS, not_sent_within
from scheduled_tasks.operations.alerts import clear_alerts, send_test_alert
from scheduled_tasks.operations.maintenance_windows import start_maintenance
from tests.support.processes import LONG

PACKAGE = "scheduled_tasks.monitoring.notifiers"
NOW = datetime(2030, 1, 15, 2, tzinfo=UTC)

received: list[Notification] = []


def fail(notification: Notification) -> None:
    raise ValueError("password=hunter2 is wrong")


@pytest.fixture(autouse=True)
def notifiers(settings: Any) -> None:
    """Configure one that works, by mail, one that keeps what it gets, and one that fails."""
    received.clear()
    functions = {"kept": received.append, "broken": fail}
    settings.SCHEDULED_TASKS = {
        "NOTIFIERS": {
            "ops": {"BACKEND": f"{PACKAGE}.EmailNotifier", "OPTIONS": {"to": "ops@shop.example"}},
            **{
                name: {"BACKEND": f"{PACKAGE}.CallableNotifier", "OPTIONS": {"function": function}}
                for name, function in functions.items()
            },
        }
    }


def test_it_is_sent_at_once() -> None:
    assert str(send_test_alert("ops")) == "ops@shop.example"
    [message] = mail.outbox
    assert message.subject == (
        "[info] test of the notifier ops: This is a test, sent on request. Nothing is wrong."
    )


def test_programs_see_that_it_is_a_test() -> None:
    send_test_alert("kept", now=NOW)
    [notification] = received
    body = notification.as_json()
    assert body["condition"] == "test"
    assert (body["event"], body["severity"], body["subject"]) == ("raised", "info", "kept")
    assert (body["task"], body["executionId"], body["url"]) == (None, None, None)
    assert body["raisedAt"] == "2030-01-15T02:00:00Z"


def test_by_default_it_is_raised_now() -> None:
    send_test_alert("kept")
    send_test_alert("kept")
    first, second = received
    assert timezone.now() - first.raised_at < timedelta(minutes=1)
    assert first.id != second.id


def test_a_time_must_be_a_moment() -> None:
    with pytest.raises(InvalidTask, match="now"):
        send_test_alert("kept", now=datetime(2030, 1, 1))
    assert received == []


def test_the_reason_is_told_without_secrets() -> None:
    with pytest.raises(NotSent) as caught:
        send_test_alert("broken")
    assert str(caught.value) == "ValueError: password=[redacted] is wrong"


def test_a_notifier_that_hangs_is_given_up(settings: Any) -> None:
    released = Event()
    options = {"function": lambda _: released.wait(LONG)}
    notifier = {"BACKEND": f"{PACKAGE}.CallableNotifier", "OPTIONS": options}
    settings.SCHEDULED_TASKS = {"NOTIFIERS": {"slow": notifier}}
    with pytest.raises(NotSent) as caught:
        send_test_alert("slow", timeout=0.01)
    released.set()
    assert str(caught.value) == "It was not sent within 0.01 s."
    assert not_sent_within(MAX_SENDING_SECONDS) == "It was not sent within 1 minute."


def test_a_notifier_that_exits_ends_no_process(settings: Any) -> None:
    notifier = {"BACKEND": f"{PACKAGE}.CallableNotifier", "OPTIONS": {"function": sys.exit}}
    settings.SCHEDULED_TASKS = {"NOTIFIERS": {"exits": notifier}}
    with pytest.raises(NotSent, match="SystemExit"):
        send_test_alert("exits")


def test_without_a_thread_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    with pytest.raises(NotSent, match="can't start new thread"):
        send_test_alert("kept")


@pytest.mark.parametrize(
    ("name", "advice"),
    [("opps", "did you mean 'ops'?"), ("pager", "use one of broken, kept, ops.")],
)
def test_an_unknown_name_is_answered_with_names(name: str, advice: str) -> None:
    with pytest.raises(UnknownNotifier, match="There is no notifier") as caught:
        send_test_alert(name)
    assert str(caught.value).endswith(advice)


def test_without_notifiers_the_setting_is_named(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {}
    with pytest.raises(UnknownNotifier, match="NOTIFIERS'] has none"):
        send_test_alert("ops")


def test_a_wrong_setting_is_told_as_such(settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"NOTIFIERS": {"ops": {}}}
    with pytest.raises(InvalidSettings, match="needs a BACKEND"):
        send_test_alert("ops")


def raised(count: int) -> list[Alert]:
    found = [
        Finding(condition="invariant", subject=str(number), message="So.")
        for number in range(count)
    ]
    raise_alerts(found, NOW, using="default")
    return list(Alert.objects.order_by("pk"))


def test_alerts_are_cleared_in_a_name(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduled_tasks.operations.alerts.BATCH_SIZE", 2)
    alerts = raised(3)
    assert len(clear_alerts(alerts[:1], by="user:ada", now=NOW)) == 1
    assert [alert.pk for alert in clear_alerts(alerts, now=NOW)] != [alerts[0].pk]
    reasons = list(Alert.objects.order_by("pk").values_list("cleared_because", flat=True))
    assert reasons == ["Cleared by user:ada.", "Cleared by code.", "Cleared by code."]
    assert clear_alerts(alerts) == []
    assert Delivery.objects.filter(event="cleared", target="ops").count() == 3


def test_what_still_holds_is_raised_again(db: None) -> None:
    [alert] = raised(1)
    clear_alerts([alert], now=NOW)
    raised(1)
    assert Alert.objects.open().count() == 1
    assert Alert.objects.count() == 2


@pytest.mark.parametrize("by", ["x" * 201, None, "a\0b"])
def test_who_clears_has_to_be_recordable(by: Any, db: None) -> None:
    alerts = raised(1)
    with pytest.raises(InvalidTask):
        clear_alerts(alerts, by=by)
    assert Alert.objects.open().count() == 1


@pytest.mark.parametrize("minutes", [10, -10])
def test_wrong_clocks_hold_nothing_back(minutes: int, db: None) -> None:
    """That of a web server may be ahead of the database's, or behind it."""
    now = timezone.now()
    found = [Finding(condition="invariant", subject="x", message="So.")]
    raise_alerts(found, now, using="default")
    clear_alerts(Alert.objects.all(), now=now + timedelta(minutes=minutes))
    # Messages are scheduled again, by a clock that is behind.
    start, end = now + timedelta(hours=1), now + timedelta(hours=2)
    start_maintenance(end, "Deploy", starts_at=start, now=now - timedelta(minutes=10))
    due = Delivery.objects.pending().filter(due_at__lte=now + timedelta(minutes=1))
    assert Counter(due.values_list("event", flat=True)) == {"raised": 3, "cleared": 3}
