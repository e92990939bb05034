"""What transactions of the life cycle raise and clear, once each, with what has to be sent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError

from scheduled_tasks import run_task_now, unregister_task
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.lifecycle import claiming, ending, firing, reaping
from scheduled_tasks.lifecycle.parking import park, unpark
from scheduled_tasks.models import Alert, Delivery, Execution, Task, TaskState, Worker
from scheduled_tasks.models.sql.transactions import LostRaceError
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from tests.support.attempts import NOTHING, claim, make_worker, outcome

Make = Callable[..., Task]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def alerts(**fields: Any) -> list[tuple[str, str, bool]]:
    """Return condition and task of each alert, and whether it is open, in order."""
    rows = Alert.objects.filter(**fields).order_by("raised_at", "condition", "task_name")
    return [(row.condition, row.task_name, row.open_key is not None) for row in rows]


def sent(condition: str) -> list[tuple[str, str]]:
    """Return what has to be sent of a condition: events and notifiers, in order."""
    rows = Delivery.objects.filter(alert__condition=condition).order_by("pk")
    return [(row.event, row.target) for row in rows]


def end(worker: Worker, now: datetime, *statuses: str, **fields: Any) -> list[Execution]:
    """Claim what waits and end it with these statuses, one after the other."""
    rows = claiming.claim(worker, now, limit=len(statuses), handlers=[NOTHING]).rows
    endings = [
        outcome(row, now, status, **fields) for row, status in zip(rows, statuses, strict=True)
    ]
    return ending.end(endings, worker, now)


def run(task: Task, worker: Worker, now: datetime, status: str, **fields: Any) -> Execution:
    """Run a task once, with this end."""
    run_task_now(task.name, now=now)
    [row] = end(worker, now, status, **fields)
    return row


def scan(now: datetime) -> None:
    ConditionScan().run(now)


def test_a_failure_is_raised_and_cleared_once(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("report", NOTHING, category="finance")
    failed = run(task, worker, now, "failed", error="Boom")
    run(task, worker, now + MINUTE, "failed", error="Boom again")
    assert alerts(condition="failed") == [("failed", "report", True)]
    assert sent("failed") == [("raised", "ops"), ("raised", "boss")]
    [alert] = Alert.objects.filter(condition="failed")
    assert (alert.message, alert.execution_id, alert.severity) == ("Boom", failed.pk, "error")
    assert alert.raised_at == now
    run(task, worker, now + HOUR, "success")
    run(task, worker, now + HOUR, "success")
    assert alerts(condition="failed") == [("failed", "report", False)]
    assert sent("failed")[2:] == [("cleared", "ops"), ("cleared", "boss")]
    [alert] = Alert.objects.filter(condition="failed")
    assert (alert.cleared_at, alert.cleared_because) == (now + HOUR, "The task has succeeded.")


def test_a_task_may_fail_again_after_a_success(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("report", NOTHING, overlap_policy="allow")
    for _ in range(4):
        run_task_now("report", now=now)
    end(worker, now, "failed", "success", "failed", "success")
    assert alerts(condition="failed") == [("failed", "report", False)] * 2
    assert [event for event, target in sent("failed") if target == "ops"] == [
        "raised",
        "cleared",
        "raised",
        "cleared",
    ]


def test_only_the_last_retry_raises_it(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("report", NOTHING, max_retries=1, retry_delay=0)
    run(task, worker, now, "failed", error="Boom")
    assert alerts() == []
    end(worker, now + MINUTE, "failed", error="Boom")
    assert alerts() == [("dead_letter", "report", True), ("failed", "report", True)]


def test_it_may_take_some_failures_in_a_row(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("report", NOTHING, alert_after_failures=3)
    for status in ("failed", "failed", "success", "failed", "failed"):
        run(task, worker, now, status)
    assert alerts(condition="failed") == []
    run(task, worker, now, "failed", error="Boom")
    [alert] = Alert.objects.filter(condition="failed")
    assert alert.message == "Boom (3 failures in a row)"


def test_dead_letters_are_cleared_when_settled(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("report", NOTHING)
    row = run(task, worker, now, "failed", error="Boom")
    scan(now)
    assert alerts(condition="dead_letter") == [("dead_letter", "report", True)]
    Execution.objects.filter(pk=row.pk).update(resolved_at=now)
    scan(now + MINUTE)
    assert alerts(condition="dead_letter") == [("dead_letter", "report", False)]
    assert alerts(condition="failed") == [("failed", "report", True)]


def test_runs_in_test_mode_raise_nothing(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("report", NOTHING)
    run_task_now("report", now=now)
    Execution.objects.update(test_mode=True)
    end(worker, now, "failed")
    assert alerts() == []
    assert task.alerts.count() == 0


def test_partial_success_is_told_where_wanted(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("other", NOTHING)
    task = make_task("report", NOTHING, notify_on=["partial"])
    for each in ("other", "report"):
        run_task_now(each, now=now)
        end(worker, now, "partial", reason="Two of three.")
    assert alerts() == [("partial", "report", True)]
    assert Alert.objects.get().message == "Two of three."
    run(task, worker, now, "success")
    scan(now)
    assert alerts() == [("partial", "report", False)]


def test_an_outage_is_told_once_for_each_task(make_task: Make, now: datetime) -> None:
    for name, policy in (("a", "once"), ("b", "skip"), ("c", "all")):
        make_task(name, NOTHING, "every 1 hour", misfire_policy=policy)
    make_task("paused", NOTHING, "every 1 hour", paused_until=now + 2 * DAY)
    make_task("daily", NOTHING, "every 1 day", anchor=now - DAY + MINUTE)
    while firing.fire(now + DAY, limit=2):
        pass
    assert alerts() == [("missed", name, True) for name in ("a", "b", "c", "daily")]
    messages = dict(Alert.objects.values_list("task_name", "message"))
    assert messages["a"] == (
        "22 slots from 2026-03-01 13:00:00 UTC to 2026-03-02 10:00:00 UTC were not started in "
        "time. No scheduler was running; a later slot was run instead."
    )
    assert messages["c"].endswith("were not started in time. They are run late.")
    assert messages["daily"].endswith("was not started in time. It is run late.")


@pytest.mark.parametrize(
    ("limit", "fate"),
    [
        (1, "5 of them are not run, and 1 is run late."),
        (5, "1 of them is not run, and 5 are run late."),
    ],
)
def test_it_says_how_many_slots_are_lost(
    make_task: Make, now: datetime, limit: int, fate: str
) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_policy="all", catch_up_limit=limit)
    firing.fire(now + 6 * HOUR + 30 * MINUTE, limit=9)
    assert Alert.objects.get(condition="missed").message == (
        "6 slots from 2026-03-01 13:00:00 UTC to 2026-03-01 18:00:00 UTC were not started in "
        f"time. {fate}"
    )


@pytest.mark.parametrize("seconds", [59, 60])
def test_a_short_deploy_misses_nothing(make_task: Make, now: datetime, seconds: int) -> None:
    make_task("a", NOTHING, "every 1 hour")
    firing.fire(now + HOUR + timedelta(seconds=seconds), limit=9)
    assert alerts() == []


def test_missed_slots_are_cleared_by_one_in_time(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, "every 1 hour")
    firing.fire(now + 3 * HOUR + 2 * MINUTE, limit=9)
    end(worker, now + 3 * HOUR + 2 * MINUTE, "success")
    scan(now + 3 * HOUR + 3 * MINUTE)
    assert alerts() == [("missed", "a", True)]
    firing.fire(now + 4 * HOUR, limit=9)
    claim(worker, now + 4 * HOUR + timedelta(seconds=2))
    scan(now + 4 * HOUR + MINUTE)
    assert alerts() == [("missed", "a", False)]
    assert sent("missed")[2:] == [("cleared", "ops"), ("cleared", "boss")]


def test_a_slot_beyond_its_grace_is_missed(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_grace=30)
    firing.fire(now + HOUR, limit=9)
    claiming.claim(worker, now + HOUR + MINUTE, limit=1, handlers=[NOTHING])
    assert alerts() == [("missed", "a", True)]
    assert "Found later than the grace period of 30 s allows." in Alert.objects.get().message


def test_a_slot_within_its_grace_is_not_missed(make_task: Make, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", misfire_grace=600)
    make_task("b", NOTHING, "every 1 hour", misfire_grace=600, misfire_policy="skip")
    firing.fire(now + HOUR + 10 * MINUTE, limit=9)
    assert alerts() == [("missed", "b", True)]


def test_a_parked_task_is_told_until_it_runs(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour")
    park(task.state, "No worker knows it.", now, using="default")
    park(task.state, "Another reason.", now, using="default")
    assert alerts() == [("parked", "a", True)]
    unpark(task.state, now, using="default")
    assert alerts() == [("parked", "a", False)]


def test_a_disabled_task_is_not_told_parked(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, "every 1 hour", enabled=False)
    park(task.state, "Its schedule is broken.", now, using="default")
    assert alerts() == []


def test_a_disabled_task_fails_as_dead_letter_only(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    wanted = ["failed", "dead_letter", "partial"]
    task = make_task("a", NOTHING, "every 1 hour", enabled=False, notify_on=wanted)
    run(task, worker, now, "partial")
    for number in range(2):
        run(task, worker, now + number * MINUTE, "failed")
        scan(now + number * MINUTE)
    assert alerts() == [("dead_letter", "a", True)]


def test_a_lost_worker_is_told_until_settled(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING)
    run_task_now("a", now=now)
    lost = claim(worker, now)
    reaping.mark_lost({worker.pk: worker.heartbeat_at}, now)
    reaping.mark_lost({worker.pk: worker.heartbeat_at}, now)
    [alert] = Alert.objects.all()
    assert (alert.condition, alert.subject, alert.task) == ("worker_lost", "first", None)
    scan(now)
    reaping.reap(now)
    scan(now)
    other = make_worker("second", now)
    row = claim(other, now + MINUTE)
    assert row.pk == lost.pk
    scan(now + MINUTE)
    assert alerts() == [("worker_lost", "", True)]
    ending.end([outcome(row, now + MINUTE)], other, now + MINUTE)
    scan(now + MINUTE)
    assert alerts() == [("worker_lost", "", False)]


@pytest.mark.parametrize("change", ["disabled", "deleted", "renamed", "turned off"])
def test_alerts_of_a_changed_task(
    make_task: Make, worker: Worker, now: datetime, change: str
) -> None:
    task = make_task("a", NOTHING)
    run(task, worker, now, "failed", error="Boom")
    match change:
        case "disabled":
            task.enabled = False
            task.save(now=now)
        case "deleted":
            unregister_task("a")
        case "renamed":
            task.name = "b"
            task.save(now=now)
        case "turned off":
            task.notify_on = []
            task.save(now=now)
    scan(now)
    scan(now)
    found = {condition: is_open for condition, _, is_open in alerts()}
    stays = {"disabled": {"dead_letter"}, "renamed": {"dead_letter", "failed"}}
    assert {name for name, is_open in found.items() if is_open} == stays.get(change, set())
    if change == "renamed":
        task.refresh_from_db()
        run(task, worker, now, "failed", error="Boom")
        assert len(alerts()) == 2


def broken(*args: Any, **kwargs: Any) -> None:
    raise InvalidSettings("It is broken.")


@pytest.mark.parametrize(
    "place",
    [
        "monitoring.alerts.raising.send_raised",
        "monitoring.alerts.raising.is_on",
        "monitoring.alerts.findings.dead_letter",
        "lifecycle.alerting.tasks_of",
    ],
)
def test_alerts_that_cannot_be_raised_stop_nothing(
    make_task: Make,
    worker: Worker,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    place: str,
) -> None:
    task = make_task("a", NOTHING)
    monkeypatch.setattr(f"scheduled_tasks.{place}", broken)
    row = run(task, worker, now, "failed")
    assert Execution.objects.get(pk=row.pk).status == "failed"
    assert TaskState.objects.get().consecutive_failures == 1
    assert alerts() == []
    assert "alerts about the results of runs could not be written" in caplog.text


def test_alerts_that_cannot_be_cleared_stop_nothing(
    make_task: Make, worker: Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task("a", NOTHING, "every 1 hour", notify_on=["failed", "parked", "missed"])
    run(task, worker, now, "failed")
    park(task.state, "No worker knows it.", now, using="default")
    monkeypatch.setattr("scheduled_tasks.monitoring.alerts.raising.send_cleared", broken)
    run(task, worker, now, "success")
    unpark(task.state, now, using="default")
    monkeypatch.setattr("scheduled_tasks.monitoring.alerts.findings.missed", broken)
    firing.fire(now + HOUR + 2 * MINUTE, limit=9)
    state = TaskState.objects.get()
    assert (state.consecutive_failures, state.parked_at) == (0, None)
    assert state.next_run_at == now + 2 * HOUR
    assert alerts() == [("failed", "a", True), ("parked", "a", True)]
    monkeypatch.undo()
    scan(now + HOUR)
    assert alerts() == [("failed", "a", False), ("parked", "a", False)]


@pytest.mark.parametrize("error", [LostRaceError, OperationalError])
def test_a_conflict_or_an_outage_propagates(
    make_task: Make,
    worker: Worker,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    def away(*args: Any, **kwargs: Any) -> None:
        raise error("It is away.")

    make_task("a", NOTHING)
    run_task_now("a", now=now)
    row = claim(worker, now)
    monkeypatch.setattr("scheduled_tasks.lifecycle.alerting.raise_alerts", away)
    with pytest.raises(error):
        ending.end([outcome(row, now, "failed")], worker, now)
    assert Execution.objects.get().status == "running"


def test_each_success_is_told_where_wanted(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, notify_on=["success"], overlap_policy="allow")
    make_task("b", NOTHING)
    for name in ("a", "a", "b", "a"):
        run_task_now(name, now=now)
    end(worker, now, "success", "success", "success", "failed")
    assert alerts() == [("success", "a", False)] * 2
    assert sent("success") == [("raised", "ops"), ("raised", "boss")] * 2
    assert {row.severity for row in Alert.objects.all()} == {"info"}


def test_who_was_told_hears_of_the_end(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS |= {"ALERTS": [{"tasks": ["a"], "to": "ops"}]}
    fields = {"notify_on": ["failed"], "metadata": {"recipients": "ada@shop.example"}}
    task = make_task("a", NOTHING, **fields)
    run(task, worker, now, "failed")
    unregister_task("a")
    scan(now)
    told = [("raised", "ops"), ("raised", "ada@shop.example")]
    assert sent("failed") == [*told, ("cleared", "ops"), ("cleared", "ada@shop.example")]
