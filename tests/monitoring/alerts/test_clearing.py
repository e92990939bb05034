"""When alerts are over: judged again in the transaction that clears them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import claiming, ending, firing, reaping
from scheduled_tasks.models import Alert, Execution, Task, TaskState, Worker
from scheduled_tasks.models.sql.transactions import in_transaction
from scheduled_tasks.monitoring.alerts.clearing import (
    NO_LONGER_SO,
    lock_what_is_over,
    reasons_to_clear,
)
from scheduled_tasks.monitoring.alerts.open_alerts import OpenAlerts
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from tests.support.attempts import NOTHING, claim, make_worker, outcome

Make = Callable[..., Task]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing")


def scan(now: datetime) -> None:
    ConditionScan([]).run(now)


def reasons(condition: str) -> list[str]:
    """Return why the alerts of a condition were cleared, "" for those that are open."""
    rows = Alert.objects.filter(condition=condition).order_by("raised_at", "pk")
    return [row.cleared_because for row in rows]


def run(name: str, worker: Worker, now: datetime, status: str = "success", **fields: Any) -> None:
    """Run a task on request."""
    run_task_now(name, now=now, **fields)
    ending.end([outcome(claim(worker, now), now, status)], worker, now)


def run_slots(worker: Worker, now: datetime) -> None:
    """Fire what is due and let it succeed."""
    firing.fire(now, limit=9)
    rows = claiming.claim(worker, now, limit=9, handlers=[NOTHING]).rows
    ending.end([outcome(row, now) for row in rows], worker, now)


def judged(now: datetime) -> dict[str, list[Alert]]:
    """Return what a scan finds over."""
    rows = Alert.objects.open().select_related("task__state")
    return dict(reasons_to_clear(list(rows), using="default"))


def still_over(alerts: list[Alert], because: str) -> list[Alert]:
    return in_transaction(
        lambda: lock_what_is_over(alerts, because, using="default"), using="default"
    )


def test_what_fails_meanwhile_stays_open(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, notify_on=["failed"])
    run("a", worker, now, "failed")
    TaskState.objects.update(consecutive_failures=0)
    [(because, over)] = judged(now).items()
    assert still_over(over, because) == over
    # It fails while its alert is open, which raises no other.
    run("a", worker, now, "failed")
    assert still_over(over, because) == []
    scan(now)
    assert reasons("failed") == [""]
    assert Alert.objects.get().task == task


def test_a_slot_missed_meanwhile_stays_open(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_policy="skip")
    firing.fire(now + HOUR + 2 * MINUTE, limit=9)
    run_slots(worker, now + 2 * HOUR)
    [(because, over)] = judged(now).items()
    firing.fire(now + 3 * HOUR + 2 * MINUTE, limit=9)
    assert still_over(over, because) == []
    run_slots(worker, now + 4 * HOUR)
    assert still_over(over, because) == over


def test_another_reason_waits_for_the_next_scan(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, notify_on=["failed"])
    run("a", worker, now, "failed")
    TaskState.objects.update(consecutive_failures=0)
    [(because, over)] = judged(now).items()
    Task.objects.update(enabled=False)
    assert still_over(over, because) == []
    scan(now)
    assert reasons("failed") == ["The task was disabled."]


def test_what_no_scan_finds_needs_no_rule(now: datetime, db: None) -> None:
    raise_alerts([Finding(condition="invariant", subject="x", message="So.")], now, using="default")
    alerts = list(Alert.objects.all())
    assert still_over(alerts, NO_LONGER_SO) == alerts
    Alert.objects.update(open_key=None)
    assert still_over(alerts, NO_LONGER_SO) == []


def test_a_run_on_request_makes_up(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_policy="skip", notify_on=["missed"])
    firing.fire(now + HOUR + 2 * MINUTE, limit=9)
    late = now + HOUR + 3 * MINUTE
    run("a", worker, late, "failed")
    run("a", worker, late, test_mode=True)
    assert reasons("missed") == [""]
    run("a", worker, late + SECOND)
    assert reasons("missed") == ["A later run has succeeded."]


def test_an_earlier_run_makes_up_for_nothing(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_policy="skip", overlap_policy="allow")
    run_task_now("a", now=now)
    row = claim(worker, now)
    firing.fire(now + HOUR + 2 * MINUTE, limit=9)
    ended = outcome(row, now)
    ending.end([ended], worker, now + HOUR + 3 * MINUTE)
    assert reasons("missed") == [""]


def test_a_late_last_slot_makes_up(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, f"at {now + HOUR:%Y-%m-%d %H:%M}", timezone="UTC")
    make_task("b", NOTHING, "every 1 hour")
    late = now + HOUR + 2 * MINUTE
    ConditionScan().run(late)
    make_worker("second", late)
    Worker.objects.update(heartbeat_at=late, declaration_digest="tests")
    ConditionScan().run(late)
    assert reasons("missed") == ["", ""]
    run_slots(worker, late)
    scan(late)
    found = dict(
        Alert.objects.filter(condition="missed").values_list("task_name", "cleared_because")
    )
    assert found == {"a": "A later run has succeeded.", "b": ""}


def lose(worker: Worker, now: datetime) -> None:
    reaping.mark_lost({worker.pk: worker.heartbeat_at}, now)


def test_workers_of_one_name_settle_together(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    other = make_worker("first", now)
    make_task("a", NOTHING, overlap_policy="allow")
    held = []
    for each in (worker, other):
        run_task_now("a", now=now)
        held.append(claim(each, now))
    lose(worker, now)
    lose(other, now)
    [alert] = Alert.objects.filter(condition="worker_lost")
    assert alert.details["workers"] == [str(worker.pk), str(other.pk)]
    # What the second has run is over, what the first has run is not.
    Execution.objects.filter(pk=held[1].pk).update(status="success")
    scan(now)
    assert reasons("worker_lost") == [""]
    reaping.reap(now)
    scan(now)
    assert reasons("worker_lost") == [""]
    Execution.objects.update(status="success", exclusive=None)
    scan(now)
    assert reasons("worker_lost") == ["All its executions have ended."]


def test_workers_lost_at_once_share_an_alert(worker: Worker, now: datetime) -> None:
    other = make_worker("first", now)
    reaping.mark_lost({each.pk: now for each in (worker, other)}, now)
    [alert] = Alert.objects.all()
    assert sorted(alert.details["workers"]) == sorted([str(worker.pk), str(other.pk)])


def test_details_list_the_newest_only(now: datetime, db: None) -> None:
    for start in range(0, 120, 40):
        names = [str(number) for number in range(start, start + 40)]
        found = Finding(condition="invariant", message="So.", details={"workers": names})
        raise_alerts([found], now, using="default")
    assert Alert.objects.get().details["workers"] == [str(number) for number in range(20, 120)]


@pytest.mark.parametrize("count", [2, 20])
def test_clearing_asks_as_often_for_many(
    make_task: Make,
    worker: Worker,
    now: datetime,
    count: int,
    django_assert_max_num_queries: Any,
) -> None:
    for number in range(count):
        make_task(f"t{number}", NOTHING, "every 1 hour", misfire_policy="skip")
    firing.fire(now + HOUR + 2 * MINUTE, limit=99)
    firing.fire(now + 2 * HOUR, limit=99)
    claiming.claim(worker, now + 2 * HOUR, limit=99, handlers=[NOTHING])
    alerts = list(Alert.objects.open().select_related("task__state"))
    with django_assert_max_num_queries(2):
        over = reasons_to_clear(alerts, using="default")
    assert {because: len(found) for because, found in over.items() if found} == {
        "A later slot began in time.": count
    }


def test_scans_judge_open_alerts_in_turn(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scheduled_tasks.monitoring.alerts.open_alerts.MAX_JUDGED", 2)
    tasks = [make_task(f"t{number}", NOTHING) for number in range(5)]
    found = [Finding(condition="failed", task=task, message="So.") for task in tasks]
    lasting = [Finding(condition="invariant", subject=each, message="So.") for each in "abc"]
    raise_alerts([*found, *lasting], now, using="default")
    read = OpenAlerts()
    judged = [read.read(["invariant"], using="default") for _ in range(3)]
    assert [len(alerts) for alerts in judged] == [5, 5, 5]
    others = [alert.task_name for alerts in judged for alert in alerts if alert.task]
    assert sorted(others[:5]) == [task.name for task in tasks]
    assert others[5] == others[0]


@pytest.mark.parametrize("count", [2, 20])
def test_what_a_scan_reads_is_enough(
    make_task: Make,
    now: datetime,
    count: int,
    settings: Any,
    django_assert_max_num_queries: Any,
) -> None:
    settings.SCHEDULED_TASKS = {"ALERTS": [{"tasks": ["x"]}]}
    conditions = ("failed", "partial", "parked", "missed", "not_started", "no_success")
    for number in range(count):
        task = make_task(
            f"t{number}",
            NOTHING,
            "every 1 hour",
            notify_on=list(conditions),
            start_within=60,
            no_success_for=60,
        )
        found = [
            Finding(condition=each, task=task, message="So.", details={"slot": now.isoformat()})
            for each in conditions
        ]
        raise_alerts(found, now, using="default")
    with django_assert_max_num_queries(3):
        alerts = OpenAlerts().read([], using="default")
        reasons_to_clear(alerts, using="default")
    assert len(alerts) == count * len(conditions)


@pytest.mark.usefixtures("notifiers")
def test_unknown_conditions_stop_no_clearing(
    make_task: Make, now: datetime, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """After a rollback, or while a release is deployed, there are alerts of newer code."""
    settings.SCHEDULED_TASKS |= {"ALERTS": [{"to": "ops", "remind_every": 60}]}
    parked = Finding(condition="parked", task=make_task("a", NOTHING), message="So.")
    raise_alerts([parked], now, using="default")
    for name, task in (("new", make_task("b", NOTHING, notify_on=[])), ("newer", None)):
        Alert.objects.create(
            condition=name, severity="error", task=task, open_key=name, message="x", raised_at=now
        )
    scan(now + HOUR)
    assert reasons("parked") == ["The task is no longer parked."]
    assert Alert.objects.open().count() == 2
    assert not caplog.records
