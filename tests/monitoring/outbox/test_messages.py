"""When messages about alerts are sent, and to whom: reminders, windows, quiet hours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import ending
from scheduled_tasks.models import Alert, Delivery, MaintenanceWindow, Task, TaskState, Worker
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.monitoring.alerts.reminders import due_reminders
from scheduled_tasks.monitoring.alerts.scan import ConditionScan, tell_untold
from tests.monitoring.scans import scan, sent
from tests.support.attempts import NOTHING, claim, outcome
from tests.support.threads import in_parallel

Make = Callable[..., Task]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def fail(name: str, worker: Worker, now: datetime) -> None:
    """Run a task by hand, and let it fail."""
    run_task_now(name, now=now)
    ending.end([outcome(claim(worker, now), now, "failed")], worker, now)


def send_all(now: datetime, **of: Any) -> None:
    """Deliver what waits in the outbox."""
    Delivery.objects.pending().filter(**of).update(finished_at=now, delivered=True)


def test_reminders_are_sent_while_it_is_open(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS |= {
        "ALERTS": [{"to": "ops", "remind_every": 3600}, {"to": "boss", "remind_every": 7200}]
    }
    make_task("a", NOTHING)
    fail("a", worker, now)
    Alert.objects.exclude(condition="failed").delete()
    send_all(now)
    for minutes in (59, 60, 61, 119, 120, 121):
        scan(now + minutes * MINUTE)
        scan(now + minutes * MINUTE)
        send_all(now + minutes * MINUTE)
    assert sent("reminder") == ["ops", "ops", "boss"]
    TaskState.objects.update(consecutive_failures=0)
    scan(now + 130 * MINUTE)
    scan(now + 300 * MINUTE)
    assert sent("reminder") == ["ops", "ops", "boss"]


def test_a_task_chooses_its_own_reminders(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, remind_every=60, notify_on=["failed"])
    fail("a", worker, now)
    send_all(now)
    scan(now + MINUTE)
    assert sent("reminder") == ["ops", "boss"]


def test_reminders_wait_for_the_message_before(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    """They do not pile up while a receiver is down, and do not follow at once when it is back."""
    make_task("a", NOTHING, remind_every=60, notify_on=["failed"])
    fail("a", worker, now)
    send_all(now, target="ops")
    for minutes in range(1, 121):
        scan(now + minutes * MINUTE)
        send_all(now + minutes * MINUTE, target="ops")
    assert sent("reminder") == ["ops"] * 120
    send_all(now + 2 * HOUR)
    scan(now + 2 * HOUR + 59 * SECOND)
    assert sent("reminder", target="boss") == []
    scan(now + 2 * HOUR + MINUTE)
    assert sent("reminder", target="boss") == ["boss"]


def test_who_was_not_told_gets_no_reminder(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, remind_every=60, notify_on=["failed"])
    fail("a", worker, now)
    Delivery.objects.filter(target="boss").delete()
    send_all(now)
    scan(now + HOUR)
    assert sent("reminder") == ["ops"]


@pytest.mark.parametrize("count", [1, 20])
def test_scans_read_no_old_reminders(
    make_task: Make, now: datetime, settings: Any, django_assert_num_queries: Any, count: int
) -> None:
    """Between two reminders, what was sent long ago costs no more, however much it is."""
    settings.SCHEDULED_TASKS |= {"ALERTS": [{"remind_every": 60}]}
    tasks = [make_task(f"t{number}", NOTHING) for number in range(count)]
    found = [Finding(condition="parked", task=task, message="So.") for task in tasks]
    raise_alerts(found, now, using="default")
    send_all(now)
    alerts = list(Alert.objects.open().select_related("task"))
    # The windows, what waits, and what was sent within a minute.
    with django_assert_num_queries(3):
        assert due_reminders(alerts, now + 59 * SECOND, using="default") == []
    with django_assert_num_queries(4):
        due = due_reminders(alerts, now + MINUTE, using="default")
    assert [len(routes) for _alert, routes in due] == [2] * count


def test_a_maintenance_window_holds_messages_back(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("a", NOTHING, notify_on=["failed"])
    other = make_task("b", NOTHING, notify_on=["failed"])
    window = {"starts_at": now - HOUR, "ends_at": now + HOUR, "reason": "Disks"}
    MaintenanceWindow.objects.create(**window, task=task)
    for each in (task, other):
        fail(each.name, worker, now)
    due = dict(Delivery.objects.filter(target="ops").values_list("alert__task_name", "due_at"))
    assert due == {"a": now + HOUR, "b": now}
    for each in (task, other):
        run_task_now(each.name, now=now)
        ending.end([outcome(claim(worker, now), now)], worker, now + MINUTE)
    withdrawn = Delivery.objects.filter(alert__task_name="a")
    assert {(row.event, row.delivered, row.finished_at) for row in withdrawn} == {
        ("raised", False, now + MINUTE)
    }
    assert Delivery.objects.filter(alert__task_name="b", event="cleared").count() == 2


def test_a_maintenance_window_has_no_reminders(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, remind_every=60, notify_on=["failed"])
    fail("a", worker, now)
    send_all(now)
    window = {"starts_at": now + SECOND, "ends_at": now + HOUR, "reason": "Disks"}
    MaintenanceWindow.objects.create(**window)
    scan(now + MINUTE)
    assert sent("reminder") == []
    scan(now + HOUR)
    assert sent("reminder") == ["ops", "boss"]


def test_quiet_hours_hold_messages_of_one_notifier(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    quiet = {"to": "ops", "quiet_hours": "11:00-13:00"}
    settings.SCHEDULED_TASKS |= {"ALERTS": [quiet, {"to": "boss"}]}
    make_task("a", NOTHING, notify_on=["failed"])
    fail("a", worker, now)
    assert dict(Delivery.objects.values_list("target", "due_at")) == {
        "ops": now + HOUR,
        "boss": now,
    }


def test_the_recipients_of_a_task_get_a_mail(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS |= {"NOTIFIERS": {}}
    make_task("a", NOTHING, notify_on=["failed"], metadata={"recipients": ["a@b.nl", "d@e.nl"]})
    fail("a", worker, now)
    [row] = Delivery.objects.all()
    assert (row.transport, row.target) == ("mail", "a@b.nl, d@e.nl")


@pytest.fixture
def untold(
    nothing: None, notifiers: None, make_task: Make, *, worker: Worker, now: datetime, settings: Any
) -> dict[str, Any]:
    """Leave an open alert that nobody was told of; return the settings without notifiers."""
    with_notifiers = dict(settings.SCHEDULED_TASKS)
    settings.SCHEDULED_TASKS = {**with_notifiers, "NOTIFIERS": {}}
    make_task("a", NOTHING, notify_on=["failed"])
    fail("a", worker, now)
    assert not Delivery.objects.exists()
    return with_notifiers


def test_new_notifiers_hear_of_open_alerts(
    untold: dict[str, Any], worker: Worker, now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS = untold
    Worker.objects.update(heartbeat_at=now, declaration_digest="tests")
    scans = ConditionScan()
    scans.run(now)
    assert sent("raised") == ["ops", "boss"]
    scans.run(now + MINUTE)
    scans.forget()
    scans.run(now + 2 * MINUTE)
    scan(now + 3 * MINUTE)
    assert sent("raised") == ["ops", "boss"]


def test_a_mended_rule_tells_those_it_left_out(
    untold: dict[str, Any], now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS = untold | {"ALERTS": [{"to": "boss"}]}
    scan(now)
    settings.SCHEDULED_TASKS = untold | {"ALERTS": [{"to": "ops", "quiet_hours": "11:00-13:00"}]}
    scan(now)
    assert sent("raised") == ["boss", "ops"]
    assert Delivery.objects.get(target="ops").due_at == now + HOUR


@pytest.mark.usefixtures("untold")
def test_changed_addresses_are_not_told_again(now: datetime) -> None:
    Task.objects.update(metadata={"recipients": ["a@b.nl"]})
    scan(now)
    Task.objects.update(metadata={"recipients": ["a@b.nl", "d@e.nl"]})
    scan(now)
    assert sent("raised") == ["a@b.nl"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("workers", [1, 3, 10])
def test_many_scans_tell_new_notifiers_once(
    untold: dict[str, Any], now: datetime, settings: Any, workers: int
) -> None:
    settings.SCHEDULED_TASKS = untold
    in_parallel([lambda: tell_untold(now, using="default")] * workers)
    assert sent("raised") == ["ops", "boss"]
