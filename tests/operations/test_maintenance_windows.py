"""Maintenance windows are started and ended, and what they hold back follows their end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from scheduled_tasks.exceptions import InvalidTask, UnknownTask
from scheduled_tasks.models import Alert, Delivery, MaintenanceWindow, Task
from scheduled_tasks.monitoring.alerts.raising import Finding, clear_alerts, raise_alerts
from scheduled_tasks.monitoring.outbox import held_messages
from scheduled_tasks.operations.maintenance_windows import (
    delete_windows,
    end_maintenance,
    end_window,
    save_window,
    start_maintenance,
)
from tests.support.attempts import NOTHING

Make = Callable[..., Task]
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
CALLABLE = "scheduled_tasks.monitoring.notifiers.CallableNotifier"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing", "ops")]


def configure(settings: Any, **more: Any) -> None:
    options = {"function": "tests.monitoring.received.receive"}
    settings.SCHEDULED_TASKS = {
        **getattr(settings, "SCHEDULED_TASKS", {}),
        "NOTIFIERS": {"ops": {"BACKEND": CALLABLE, "OPTIONS": options}},
        **more,
    }


@pytest.fixture
def ops(settings: Any) -> None:
    """Set up one notifier."""
    configure(settings)


def tell(task: Task | None, now: datetime, subject: str = "") -> Alert:
    """Raise an alert and return it."""
    condition = "failed" if task else "worker_lost"
    found = Finding(condition=condition, task=task, message="Boom", subject=subject)
    raise_alerts([found], now, using="default")
    return Alert.objects.get(open_key=found.key)


def due(alert: Alert) -> list[datetime]:
    return list(alert.deliveries.values_list("due_at", flat=True))


def test_a_window_is_started_and_ended(now: datetime) -> None:
    window = start_maintenance(now + HOUR, "Deploy", by="user:ada", now=now)
    window.refresh_from_db()
    assert (window.starts_at, window.ends_at, window.task) == (now, now + HOUR, None)
    assert (window.reason, window.created_by) == ("Deploy", "user:ada")
    assert list(MaintenanceWindow.objects.in_force(now)) == [window]
    assert end_maintenance(now=now + MINUTE) == 1
    assert end_maintenance(now=now + MINUTE) == 0
    assert MaintenanceWindow.objects.get().ends_at == now + MINUTE


def test_many_held_messages_follow_in_portions(
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    monkeypatch.setattr(held_messages, "PAGE_SIZE", 2)
    start_maintenance(now + HOUR, "Deploy", now=now)
    alerts = [tell(None, now, f"web-{number}") for number in range(5)]
    with django_capture_on_commit_callbacks(execute=True):
        assert end_maintenance(now=now + MINUTE) == 1
        assert [due(alert) for alert in alerts].count([now + MINUTE]) == 2
    assert [due(alert) for alert in alerts] == [[now + MINUTE]] * 5


def test_broken_rules_keep_no_window_open(
    now: datetime, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    start_maintenance(now + HOUR, "Deploy", now=now)
    alert = tell(None, now)
    configure(settings, ALERTS=[{"to": "opps"}])
    assert end_maintenance(now=now + MINUTE) == 1
    assert "did you mean 'ops'?" in caplog.text
    assert due(alert) == [now + HOUR]


def test_it_begins_now_or_later() -> None:
    now = timezone.now()
    first = start_maintenance(now + HOUR, "Deploy")
    later = start_maintenance(now + 2 * HOUR, "Deploy", starts_at=now + HOUR)
    assert now <= first.starts_at < now + MINUTE
    assert later.starts_at == now + HOUR
    assert end_maintenance() == 1


def test_reasons_are_stored_without_secrets(now: datetime) -> None:
    start_maintenance(now + HOUR, "api_key=hunter2xyz moves", now=now)
    assert MaintenanceWindow.objects.get().reason == "api_key=[redacted] moves"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"hours": 0}, r"until: .* in the past.*end_maintenance\(\)"),
        ({"hours": -1}, "until: .* in the past"),
        ({"reason": " "}, "reason: must say why"),
        ({"reason": "x" * 256}, "reason: .*255"),
        ({"reason": "a\0b"}, "reason: "),
        ({"start": 2}, "starts_at: must be before the end"),
        ({"by": 1}, "by: must be text"),
    ],
)
def test_impossible_windows_are_refused(now: datetime, changes: dict[str, Any], says: str) -> None:
    given = {"hours": 1, "reason": "Deploy", "start": 0, "by": "code", **changes}
    with pytest.raises(InvalidTask, match=says):
        start_maintenance(
            now + given["hours"] * HOUR,
            given["reason"],
            starts_at=now + given["start"] * HOUR,
            by=given["by"],
            now=now,
        )
    assert not MaintenanceWindow.objects.exists()


def test_times_need_a_time_zone(now: datetime) -> None:
    naive = datetime(2030, 1, 1)
    for name in ("now", "starts_at"):
        given = {"now": now, "starts_at": now, name: naive}
        with pytest.raises(InvalidTask, match=name):
            start_maintenance(now + HOUR, "Deploy", **given)
    with pytest.raises(InvalidTask, match="now"):
        end_maintenance(now=naive)


def test_unknown_tasks_are_refused(now: datetime) -> None:
    with pytest.raises(UnknownTask):
        start_maintenance(now + HOUR, "Deploy", task="nope", now=now)
    with pytest.raises(UnknownTask):
        end_maintenance(task="nope", now=now)


def test_a_window_for_one_task_ends_alone(make_task: Make, now: datetime) -> None:
    make_task("a", NOTHING)
    start_maintenance(now + HOUR, "Everything", now=now)
    start_maintenance(now + HOUR, "One", task="a", now=now)
    assert end_maintenance(task="a", now=now + MINUTE) == 1
    assert [row.reason for row in MaintenanceWindow.objects.in_force(now + MINUTE)] == [
        "Everything"
    ]


def test_held_messages_follow_the_end(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING)
    window = start_maintenance(now + HOUR, "Deploy", now=now)
    alert = tell(task, now + MINUTE)
    assert due(alert) == [now + HOUR]
    window.ends_at = now + 3 * HOUR
    save_window(window, now=now + 2 * MINUTE)
    assert due(alert) == [now + 3 * HOUR]
    assert end_maintenance(now=now + 3 * MINUTE) == 1
    assert due(alert) == [now + 3 * MINUTE]
    assert list(Delivery.objects.due(now + 3 * MINUTE)) == list(alert.deliveries.all())


@pytest.mark.parametrize("what", ["deleted", "moved"])
def test_what_nothing_holds_is_due_at_once(make_task: Make, now: datetime, what: str) -> None:
    window = start_maintenance(now + HOUR, "Deploy", now=now)
    alert = tell(make_task("a", NOTHING), now + MINUTE)
    if what == "deleted":
        delete_windows([window], now=now + 2 * MINUTE)
        assert not MaintenanceWindow.objects.exists()
    else:
        window.starts_at = now + HOUR / 2
        save_window(window, now=now + 2 * MINUTE)
    assert due(alert) == [now + MINUTE]


def test_what_was_due_or_tried_stays_due(make_task: Make, now: datetime) -> None:
    window = start_maintenance(now + HOUR, "Deploy", now=now)
    over, tried = tell(make_task("a", NOTHING), now), tell(make_task("b", NOTHING), now)
    tried.deliveries.update(attempts=1, due_at=now + 2 * HOUR)
    window.ends_at = now + 4 * HOUR
    save_window(window, now=now + HOUR)
    assert due(over) == [now + HOUR]
    assert due(tried) == [now + 2 * HOUR]


def test_other_windows_still_hold(make_task: Make, now: datetime) -> None:
    task, other = make_task("a", NOTHING), make_task("b", NOTHING)
    longer = start_maintenance(now + 2 * HOUR, "Everything", now=now)
    start_maintenance(now + 3 * HOUR, "One", task=task, now=now)
    of_task, of_other = tell(task, now), tell(other, now)
    of_worker = tell(None, now, subject="web-1")
    assert end_maintenance(task=task, now=now + MINUTE) == 1
    assert [due(each) for each in (of_task, of_other, of_worker)] == [[now + 2 * HOUR]] * 3
    assert end_window(longer, now=now + 2 * MINUTE)
    assert [due(each) for each in (of_task, of_other, of_worker)] == [[now + 2 * MINUTE]] * 3


def test_the_next_window_holds_what_waited_for_one(make_task: Make, now: datetime) -> None:
    """Where one ends within another, or as another begins, nothing is sent between them."""
    task = make_task("a", NOTHING)
    first = start_maintenance(now + 2 * HOUR, "First", now=now)
    alert = tell(task, now + MINUTE)
    start_maintenance(now + 3 * HOUR, "Overlaps", starts_at=now + HOUR, now=now + MINUTE)
    start_maintenance(now + 4 * HOUR, "Adjoins", starts_at=now + 3 * HOUR, now=now + MINUTE)
    start_maintenance(now + 9 * HOUR, "Apart", starts_at=now + 5 * HOUR, now=now + MINUTE)
    assert due(alert) == due(tell(task, now + MINUTE, subject="new")) == [now + 4 * HOUR]
    assert end_window(first, now=now + 2 * MINUTE)
    assert due(alert) == [now + 2 * MINUTE]


def test_a_window_that_ends_early_ends_within_another(make_task: Make, now: datetime) -> None:
    first = start_maintenance(now + HOUR, "First", now=now)
    alert = tell(make_task("a", NOTHING), now + MINUTE)
    start_maintenance(now + 2 * HOUR, "Second", starts_at=now + 2 * MINUTE, now=now + MINUTE)
    assert end_window(first, now=now + 3 * MINUTE)
    assert due(alert) == [now + 2 * HOUR]
    assert end_maintenance(now=now + 4 * MINUTE) == 1
    assert due(alert) == [now + 4 * MINUTE]


def test_quiet_hours_hold_what_a_window_held(make_task: Make, now: datetime, settings: Any) -> None:
    configure(settings, ALERTS=[{"to": "ops", "quiet_hours": "13:00-18:00 UTC"}])
    start_maintenance(now + 2 * HOUR, "Deploy", now=now)
    assert due(tell(make_task("a", NOTHING), now)) == [now + 6 * HOUR]


def test_quiet_hours_still_hold(make_task: Make, now: datetime, settings: Any) -> None:
    configure(settings, ALERTS=[{"to": "ops", "quiet_hours": "11:00-18:00 UTC"}])
    start_maintenance(now + 8 * HOUR, "Deploy", now=now)
    alert = tell(make_task("a", NOTHING), now)
    assert due(alert) == [now + 8 * HOUR]
    end_maintenance(now=now + MINUTE)
    assert due(alert) == [now + 6 * HOUR]


def test_edited_recipients_leave_no_window(make_task: Make, now: datetime, settings: Any) -> None:
    """Whoever gets a message, it waits for the windows: those of before an edit, too."""
    task = make_task("a", NOTHING, metadata={"recipients": ["a@b.nl"]})
    other = make_task("b", NOTHING)
    start_maintenance(now + 5 * HOUR, "Disks", task=task, now=now)
    start_maintenance(now + 5 * HOUR, "Another", task=other, now=now)
    alert = tell(task, now)
    Task.objects.filter(pk=task.pk).update(metadata={"recipients": ["c@b.nl"]})
    configure(settings, ALERTS=[{"to": "ops", "tasks": ["b"]}])
    assert end_maintenance(task=other, now=now + MINUTE) == 1
    assert due(alert) == [now + 5 * HOUR] * 2
    assert end_maintenance(task=task, now=now + 2 * MINUTE) == 1
    assert due(alert) == [now + 2 * MINUTE] * 2


def test_windows_hold_what_former_recipients_get(
    make_task: Make, now: datetime, settings: Any
) -> None:
    task = make_task("a", NOTHING, metadata={"recipients": ["a@b.nl"]})
    tell(task, now)
    start_maintenance(now + HOUR, "Disks", task=task, now=now + MINUTE)
    Task.objects.filter(pk=task.pk).update(metadata={})
    configure(settings, ALERTS=[{"to": "ops", "tasks": ["b"]}])
    alert = Alert.objects.select_related("task").get()
    clear_alerts([alert], "It works.", now + MINUTE, using="default")
    cleared = alert.deliveries.filter(event="cleared")
    assert list(cleared.values_list("due_at", flat=True)) == [now + HOUR] * 2


def test_what_has_cleared_is_not_sent(make_task: Make, now: datetime) -> None:
    start_maintenance(now + HOUR, "Deploy", now=now)
    alert = tell(make_task("a", NOTHING), now)
    clear_alerts([alert], "It works.", now + MINUTE, using="default")
    end_maintenance(now=now + 2 * MINUTE)
    assert not Delivery.objects.due(now + 2 * HOUR).exists()


def test_what_is_over_cannot_be_ended(now: datetime) -> None:
    window = start_maintenance(now + HOUR, "Deploy", now=now)
    assert not end_window(window, now=now + HOUR)
    assert MaintenanceWindow.objects.get().ends_at == now + HOUR


def test_any_number_of_messages_is_read_at_once(make_task: Make, now: datetime) -> None:
    counts = []
    for size in (2, 20):
        start_maintenance(now + HOUR, "Deploy", now=now)
        for number in range(size):
            tell(make_task(f"task-{size}-{number}", NOTHING), now)
        with CaptureQueriesContext(connection) as captured:
            end_maintenance(now=now + MINUTE)
        counts.append(sum(query["sql"].startswith("SELECT") for query in captured))
    assert counts[0] == counts[1]
