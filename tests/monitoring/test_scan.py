"""What only a look at the rows shows: raised and cleared by the scan, whoever makes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from scheduled_tasks import disable_task, enable_task, run_task_now
from scheduled_tasks.lifecycle import ending, firing
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import (
    Alert,
    Delivery,
    Execution,
    MaintenanceWindow,
    Task,
    TaskState,
    Worker,
)
from scheduled_tasks.models.sql.transactions import LostRaceError, in_transaction
from scheduled_tasks.monitoring.alerts import scan as alert_scan
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.monitoring.alerts.scan import ConditionScan, Watched
from scheduled_tasks.worker.scheduler import Scheduler
from tests.concurrency.beside import elsewhere
from tests.support.attempts import NOTHING, claim, outcome
from tests.support.threads import in_parallel

Make = Callable[..., Task]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


def scan(now: datetime) -> None:
    """Look at everything, also at what is looked at rarely, with a live worker."""
    Worker.objects.update(heartbeat_at=now, declaration_digest="tests")
    ConditionScan().run(now)


def is_open(condition: str) -> list[bool]:
    """Return whether each alert of a condition is open, in order."""
    rows = Alert.objects.filter(condition=condition).order_by("raised_at")
    return [row.open_key is not None for row in rows]


def sent(event: str, **of: Any) -> list[str]:
    rows = Delivery.objects.filter(event=event, **of).order_by("pk")
    return [row.target for row in rows]


def test_a_slot_nobody_decides_is_missed(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour")
    scan(now + HOUR + MINUTE)
    assert is_open("missed") == []
    scan(now + HOUR + MINUTE + SECOND)
    scan(now + HOUR + 2 * MINUTE)
    assert is_open("missed") == [True]
    firing.fire(now + HOUR + 3 * MINUTE, limit=9)
    assert is_open("missed") == [True]
    assert sent("raised", alert__condition="missed") == ["ops", "boss"]


@pytest.mark.parametrize("excuse", ["grace", "pause", "global pause", "disabled", "no handler"])
def test_a_slot_that_may_wait_is_not_missed(
    make_task: Make, worker: Worker, now: datetime, excuse: str
) -> None:
    grace = 600 if excuse == "grace" else None
    task = make_task("a", NOTHING, "every 1 hour", misfire_grace=grace)
    match excuse:
        case "pause":
            Task.objects.update(paused_until=now + 2 * HOUR)
        case "global pause":
            begin_pause(now, until=now + 2 * HOUR, by="code")
        case "disabled":
            Task.objects.update(enabled=False)
        case "no handler":
            Worker.objects.update(handlers=["jobs.other"])
    assert task.state.next_run_at == now + HOUR
    scan(now + HOUR + 5 * MINUTE)
    assert is_open("missed") == []


def test_what_a_round_decides_is_not_undecided(
    scheduler: Callable[..., Scheduler], make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, "every 1 hour")
    run_task_now("a", now=now)
    claim(worker, now)
    late = scheduler()
    late.tick(now)
    late.tick(now + HOUR + 10 * MINUTE)
    assert Execution.objects.get(status="skipped").slot == now + HOUR
    assert is_open("missed") == []


def test_a_run_that_does_not_start_is_told(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", start_within=10, overlap_policy="allow")
    firing.fire(now + HOUR, limit=9)
    scan(now + HOUR + 10 * SECOND)
    assert is_open("not_started") == []
    scan(now + HOUR + 11 * SECOND)
    assert is_open("not_started") == [True]
    claim(worker, now + HOUR + 12 * SECOND)
    firing.fire(now + 2 * HOUR, limit=9)
    scan(now + 2 * HOUR)
    assert is_open("not_started") == [True]
    claim(worker, now + 2 * HOUR + SECOND)
    scan(now + 2 * HOUR + MINUTE)
    assert is_open("not_started") == [False]


def test_a_retry_does_not_count_as_late(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, "every 1 hour", start_within=10, max_retries=1, retry_delay=0)
    firing.fire(now + HOUR + 11 * SECOND, limit=9)
    scan(now + HOUR + 12 * SECOND)
    claim(worker, now + HOUR + 13 * SECOND)
    ending.end([outcome(row, now) for row in held()], worker, now + HOUR + MINUTE)
    firing.fire(now + 2 * HOUR, limit=9)
    first = claim(worker, now + 2 * HOUR)
    ending.end([outcome(first, now, "failed", retryable=True)], worker, now + 2 * HOUR + MINUTE)
    claim(worker, now + 2 * HOUR + 5 * MINUTE)
    scan(now + 2 * HOUR + 6 * MINUTE)
    assert is_open("not_started") == [False]


def held() -> list[Execution]:
    return list(Execution.objects.running())


def test_a_task_that_never_succeeds_is_told(make_task: Make, worker: Worker, now: datetime) -> None:
    task = make_task("a", NOTHING, no_success_for=3600)
    make_task("other", NOTHING)
    Task.objects.update(created_at=now)
    scan(now + HOUR)
    assert is_open("no_success") == []
    scan(now + HOUR + SECOND)
    assert is_open("no_success") == [True]
    assert Alert.objects.get().message == (
        "It has not succeeded for 1 hour. It has never succeeded."
    )
    TaskState.objects.filter(task=task).update(last_success_at=now + HOUR)
    scan(now + HOUR + MINUTE)
    assert is_open("no_success") == [False]


@pytest.mark.parametrize("schedule", ["", "at 2026-03-01 12:00"])
def test_a_limit_for_all_excuses_tasks_without_slots(
    make_task: Make, worker: Worker, now: datetime, settings: Any, schedule: str
) -> None:
    settings.SCHEDULED_TASKS |= {"CONDITIONS": {"no_success": {"no_success_for": 3600}}}
    make_task("hourly", NOTHING, "every 1 hour")
    make_task("over", NOTHING, schedule)
    make_task("own", NOTHING, schedule, no_success_for=3600)
    TaskState.objects.exclude(task__name="hourly").update(next_run_at=None)
    Task.objects.update(created_at=now)
    scan(now + 2 * HOUR)
    told = Alert.objects.filter(condition="no_success").order_by("task_name")
    assert list(told.values_list("task_name", flat=True)) == ["hourly", "own"]
    TaskState.objects.update(next_run_at=None)
    scan(now + 3 * HOUR)
    assert [alert.cleared_because for alert in told.all()] == [
        "The schedule has no further slot.",
        "",
    ]


def test_a_pause_clears_nothing(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, no_success_for=3600)
    Task.objects.update(created_at=now)
    scan(now + 2 * HOUR)
    Task.objects.update(paused_until=now + 4 * HOUR)
    scan(now + 3 * HOUR)
    begin_pause(now + 3 * HOUR, until=now + 5 * HOUR, by="code")
    scan(now + 4 * HOUR)
    assert is_open("no_success") == [True]


@pytest.mark.parametrize("excuse", ["paused", "paused lately", "pause of all", "enabled lately"])
def test_a_task_that_could_not_succeed_is_excused(
    make_task: Make, worker: Worker, now: datetime, excuse: str
) -> None:
    make_task("a", NOTHING, no_success_for=3600)
    Task.objects.update(created_at=now)
    late = now + 2 * HOUR
    match excuse:
        case "paused":
            Task.objects.update(paused_until=late + HOUR)
        case "paused lately":
            Task.objects.update(paused_until=late - MINUTE)
        case "pause of all":
            begin_pause(now, until=late - MINUTE, by="code")
        case "enabled lately":
            disable_task("a")
            enable_task("a")
            Task.objects.get().changes.update(changed_at=late - MINUTE)
    scan(late)
    assert is_open("no_success") == []
    scan(late + 3 * HOUR)
    assert is_open("no_success") == [True]


def test_reminders_are_sent_while_it_is_open(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS |= {
        "ALERTS": [{"to": "ops", "remind_every": 3600}, {"to": "boss", "remind_every": 7200}]
    }
    make_task("a", NOTHING)
    run_task_now("a", now=now)
    ending.end([outcome(claim(worker, now), now, "failed")], worker, now)
    Alert.objects.exclude(condition="failed").delete()
    for minutes in (59, 60, 61, 119, 120, 121):
        scan(now + minutes * MINUTE)
        scan(now + minutes * MINUTE)
    assert sent("reminder") == ["ops", "ops", "boss"]
    TaskState.objects.update(consecutive_failures=0)
    scan(now + 130 * MINUTE)
    scan(now + 300 * MINUTE)
    assert sent("reminder") == ["ops", "ops", "boss"]


def test_a_task_chooses_its_own_reminders(make_task: Make, worker: Worker, now: datetime) -> None:
    make_task("a", NOTHING, remind_every=60, notify_on=["failed"])
    run_task_now("a", now=now)
    ending.end([outcome(claim(worker, now), now, "failed")], worker, now)
    scan(now + MINUTE)
    assert sent("reminder") == ["ops", "boss"]


def test_a_maintenance_window_holds_messages_back(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    task = make_task("a", NOTHING, notify_on=["failed"])
    other = make_task("b", NOTHING, notify_on=["failed"])
    window = {"starts_at": now - HOUR, "ends_at": now + HOUR, "reason": "Disks"}
    MaintenanceWindow.objects.create(**window, task=task)
    for each in (task, other):
        run_task_now(each.name, now=now)
        ending.end([outcome(claim(worker, now), now, "failed")], worker, now)
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


def test_quiet_hours_hold_messages_of_one_notifier(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    quiet = {"to": "ops", "quiet_hours": "11:00-13:00"}
    settings.SCHEDULED_TASKS |= {"ALERTS": [quiet, {"to": "boss"}]}
    make_task("a", NOTHING, notify_on=["failed"])
    run_task_now("a", now=now)
    ending.end([outcome(claim(worker, now), now, "failed")], worker, now)
    assert dict(Delivery.objects.values_list("target", "due_at")) == {
        "ops": now + HOUR,
        "boss": now,
    }


def test_the_recipients_of_a_task_get_a_mail(
    make_task: Make, worker: Worker, now: datetime, settings: Any
) -> None:
    settings.SCHEDULED_TASKS |= {"NOTIFIERS": {}}
    make_task("a", NOTHING, notify_on=["failed"], metadata={"recipients": ["a@b.nl", "d@e.nl"]})
    run_task_now("a", now=now)
    ending.end([outcome(claim(worker, now), now, "failed")], worker, now)
    [row] = Delivery.objects.all()
    assert (row.transport, row.target) == ("mail", "a@b.nl, d@e.nl")


def test_a_broken_condition_stops_no_other(
    now: datetime, caplog: pytest.LogCaptureFixture, db: None
) -> None:
    def broken(now: datetime, *, using: str) -> Iterator[Finding]:
        raise ValueError("It is broken.")

    def fine(now: datetime, *, using: str) -> list[Finding]:
        return [Finding(condition="invariant", subject="x", message="It holds.")]

    ConditionScan([Watched("missed", broken), Watched("invariant", fine)]).run(now)
    assert is_open("invariant") == [True]
    assert "the condition missed cannot be looked at" in caplog.text


def found_of(*names: str) -> list[Watched]:
    """Return a lasting condition that holds of these tasks."""

    def find(now: datetime, *, using: str) -> list[Finding]:
        tasks = Task.objects.filter(name__in=names).order_by("name")
        return [Finding(condition="running_long", task=task, message="So.") for task in tasks]

    return [Watched("running_long", find)]


@pytest.mark.django_db(transaction=True)
def test_a_task_deleted_meanwhile_stops_no_other(make_task: Make, now: datetime) -> None:
    for name in ("gone", "stays"):
        make_task(name, NOTHING, notify_on=["running_long"])

    def delete_one(now: datetime, *, using: str) -> list[Finding]:
        Task.objects.filter(name="gone").delete()
        return [Finding(condition="invariant", subject="x", message="So.")]

    ConditionScan([*found_of("gone", "stays"), Watched("invariant", delete_one)]).run(now)
    raised = Alert.objects.order_by("condition").values_list("condition", "task_name")
    assert list(raised) == [("invariant", ""), ("running_long", "stays")]


@pytest.mark.django_db(transaction=True)
def test_a_task_deleted_while_it_is_raised(
    make_task: Make, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit breaks a foreign key, and is tried again without the task."""
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has two writers at once")
    for name in ("gone", "stays"):
        make_task(name, NOTHING, notify_on=["running_long"])
    tries: list[int] = []

    def raise_then_delete(found: list[Finding], now: datetime, *, using: str) -> None:
        tries.append(len(found))
        raise_alerts(found, now, using=using)
        with elsewhere() as other:
            other.submit(Task.objects.filter(name="gone").delete).result()

    monkeypatch.setattr(alert_scan, "raise_alerts", raise_then_delete)
    ConditionScan(found_of("gone", "stays")).run(now)
    assert tries == [2, 1]
    assert list(Alert.objects.values_list("task_name", flat=True)) == ["stays"]


#: What writes a batch of each step.
STEPS = ("raise_alerts", "clear_still_open", "send_reminders")


@pytest.mark.parametrize("broken", STEPS)
@pytest.mark.parametrize("error", [ValueError("Broken."), LostRaceError("Broken.")], ids=repr)
def test_a_batch_that_fails_stops_no_other(
    make_task: Make,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    broken: str,
    error: Exception,
) -> None:
    monkeypatch.setattr(alert_scan, "BATCH_SIZE", 1)
    over, still, new = (
        [f"{what}-{number}" for number in "12"] for what in ("over", "still", "new")
    )
    for name in (*over, *still, *new):
        make_task(name, NOTHING, remind_every=60, notify_on=["running_long"])
    ConditionScan(found_of(*over, *still)).run(now)
    with monkeypatch.context() as patched:
        patched.setattr(alert_scan, broken, failing_once(getattr(alert_scan, broken), error))
        ConditionScan(found_of(*still, *new)).run(now + MINUTE)
    done = {
        "raise_alerts": Alert.objects.filter(task_name__in=new),
        "clear_still_open": Alert.objects.filter(task_name__in=over, open_key=None),
        "send_reminders": Alert.objects.filter(task_name__in=still, reminded_at=now + MINUTE),
    }
    assert {step: rows.count() for step, rows in done.items()} == {
        step: 1 if step == broken else 2 for step in STEPS
    }
    assert caplog.text.count("Broken.") == 1


def failing_once(function: Callable[..., None], error: Exception) -> Callable[..., None]:
    errors = [error]

    def call(*arguments: Any, **options: Any) -> None:
        if errors:
            raise errors.pop()
        function(*arguments, **options)

    return call


def test_an_outage_makes_the_next_scan_look_again(now: datetime, db: None) -> None:
    answers: list[Exception | list[Finding]] = [OperationalError("gone"), []]
    looked: list[datetime] = []

    def find(now: datetime, *, using: str) -> list[Finding]:
        looked.append(now)
        return []

    def find_later(now: datetime, *, using: str) -> list[Finding]:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        return answer

    scans = ConditionScan(
        [Watched("no_success", find, every=60), Watched("invariant", find_later, every=60)]
    )
    with pytest.raises(OperationalError):
        scans.run(now)
    for seconds in (1, 2, 61):
        answers.append([])
        scans.run(now + seconds * SECOND)
    assert looked == [now, now + SECOND, now + 61 * SECOND]


def test_what_another_scan_raises_meanwhile_stays(make_task: Make, now: datetime) -> None:
    task = make_task("a", NOTHING, max_runtime=60)
    found = Finding(condition="running_long", task=task, message="So.")

    def find(now: datetime, *, using: str) -> list[Finding]:
        raise_alerts([found], now, using=using)
        return []

    ConditionScan([Watched("running_long", find)]).run(now)
    assert Alert.objects.open().count() == 1


def test_lasting_conditions_clear_when_not_found(now: datetime, db: None) -> None:
    found = [Finding(condition="invariant", subject=name, message="So.") for name in "ab"]
    scans = ConditionScan([Watched("invariant", lambda now, using: list(found), every=60)])
    scans.run(now)
    found.pop()
    scans.run(now + 59 * SECOND)
    assert is_open("invariant") == [True, True]
    scans.run(now + MINUTE)
    assert sorted(is_open("invariant")) == [False, True]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("workers", [1, 3, 10])
def test_many_workers_raise_and_clear_once(now: datetime, workers: int) -> None:
    nothing = [Watched("invariant", lambda now, using: [])]
    finding = Finding(condition="invariant", subject="x", message="So.")
    in_parallel([lambda: raise_now(finding, now)] * workers)
    assert is_open("invariant") == [True]
    assert sent("raised") == ["ops", "boss"]
    in_parallel([lambda: ConditionScan(nothing).run(now + HOUR)] * workers)
    assert is_open("invariant") == [False]
    assert sent("cleared") == ["ops", "boss"]


def raise_now(finding: Finding, now: datetime) -> None:
    in_transaction(lambda: raise_alerts([finding], now, using="default"), using="default")


def test_a_maintenance_window_has_no_reminders(
    make_task: Make, worker: Worker, now: datetime
) -> None:
    make_task("a", NOTHING, remind_every=60, notify_on=["failed"])
    run_task_now("a", now=now)
    ending.end([outcome(claim(worker, now), now, "failed")], worker, now)
    window = {"starts_at": now + SECOND, "ends_at": now + HOUR, "reason": "Disks"}
    MaintenanceWindow.objects.create(**window)
    scan(now + MINUTE)
    assert sent("reminder") == []
    scan(now + HOUR)
    assert sent("reminder") == ["ops", "boss"]
