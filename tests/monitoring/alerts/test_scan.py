"""The scan: what breaks stops nothing else, and any number of workers may make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from scheduled_tasks.models import Alert, Delivery, Task
from scheduled_tasks.models.sql.transactions import LostRaceError, in_transaction
from scheduled_tasks.monitoring.alerts import scan as alert_scan
from scheduled_tasks.monitoring.alerts.raising import Finding, raise_alerts
from scheduled_tasks.monitoring.alerts.scan import ConditionScan, Watched
from tests.concurrency.beside import elsewhere
from tests.monitoring.scans import is_open, sent
from tests.support.attempts import NOTHING
from tests.support.threads import in_parallel

Make = Callable[..., Task]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.usefixtures("nothing", "notifiers")


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
    Delivery.objects.update(finished_at=now, delivered=True)
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
