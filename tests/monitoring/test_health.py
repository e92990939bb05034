"""How well it is: levels, sentences, and what is due for longest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from threading import Event
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, connection
from django.test.utils import CaptureQueriesContext

from scheduled_tasks import scheduled_task
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.lifecycle.pausing import begin_pause
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.monitoring.health import check as health_check
from scheduled_tasks.monitoring.health import report as health_module
from scheduled_tasks.monitoring.health.check import check_health
from scheduled_tasks.monitoring.health.lateness import latest_due, oldest_due
from scheduled_tasks.monitoring.health.live_workers import live_workers
from scheduled_tasks.monitoring.health.report import Health, Level, Problem, health
from scheduled_tasks.monitoring.health.violations import Invariant, Violation
from scheduled_tasks.testing import run_task
from tests.monitoring.fleet import DAY, HOUR, MINUTE, SECOND, make_scheduler
from tests.support.attempts import NOTHING, claim, make_worker

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]


def said(now: datetime, **options: Any) -> tuple[str, str]:
    report = health(now, **options)
    return report.level.name, report.sentence


# Workers.


def test_a_live_scheduler_is_all_it_takes(now: datetime) -> None:
    make_scheduler(now)
    assert said(now) == ("OK", "1 scheduler is alive, nothing is late.")
    make_scheduler(now)
    assert said(now) == ("OK", "2 schedulers are alive, nothing is late.")


def test_without_any_scheduler_it_says_what_starts_one(now: datetime) -> None:
    sentence = "No scheduler is alive, and none is on record: start runscheduler."
    assert said(now) == ("CRITICAL", sentence)
    make_scheduler(now, declaration_digest="", label="runtask h:1")
    assert said(now) == ("CRITICAL", sentence)


@pytest.mark.parametrize(
    ("fields", "fate"),
    [
        ({"silent": MINUTE}, "is silent; its last heartbeat was at 2026-03-01 11:59:00 UTC"),
        (
            {"state": "stopped"},
            "stopped; its last heartbeat was at 2026-03-01 11:59:59 UTC",
        ),
        (
            {"state": "lost", "silent": HOUR},
            "was lost; its last heartbeat was at 2026-03-01 11:00:00 UTC",
        ),
        (
            {"state": "stopping", "silent": HOUR},
            "is silent; its last heartbeat was at 2026-03-01 11:00:00 UTC",
        ),
    ],
    ids=str,
)
def test_without_a_live_one_it_names_the_last(
    now: datetime, fields: dict[str, Any], fate: str
) -> None:
    make_scheduler(now, label="old", silent=2 * HOUR)
    make_scheduler(now, **fields)
    make_scheduler(now, declaration_digest="", label="runtask h:1")
    assert said(now) == ("CRITICAL", f"No scheduler is alive: blue, the last one, {fate}.")


def test_a_stopping_scheduler_alone_is_a_warning(now: datetime) -> None:
    make_scheduler(now, state="stopping")
    make_scheduler(now, state="lost", silent=HOUR)
    sentence = "No scheduler starts anything: blue, the last one, is stopping."
    assert said(now) == ("WARNING", sentence)
    make_scheduler(now, label="green", up=SECOND)
    assert said(now) == ("OK", "1 scheduler is alive, nothing is late.")


@pytest.mark.parametrize("given", [{"workers": 3}, {"workers": 2}, True, False, {}], ids=str)
def test_there_may_be_too_few(now: datetime, settings: Any, given: Any) -> None:
    conditions = {"CONDITIONS": {"too_few_workers": given}}
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, **conditions}
    make_scheduler(now)
    make_scheduler(now, state="stopping")
    wanted = given["workers"] if given and given is not True else 1
    few = ("WARNING", f"Only 1 scheduler is alive, there should be {wanted}.")
    assert said(now) == (few if wanted > 1 else ("OK", "1 scheduler is alive, nothing is late."))


def test_live_workers_come_by_age(now: datetime) -> None:
    make_scheduler(now, label="young", up=SECOND)
    make_scheduler(now, label="old")
    make_scheduler(now, label="gone", silent=MINUTE)
    make_worker("runtask", now)
    assert [worker.label for worker in live_workers(now)] == ["old", "young"]


@pytest.mark.django_db(transaction=True)
def test_runtask_is_no_scheduler(registry: HandlerRegistry, make_task: Make) -> None:
    seen: list[int] = []

    @scheduled_task(name="jobs.count")
    def count() -> None:
        now = Worker.objects.database_time()
        seen.extend([Worker.objects.live(now, within=60).count(), len(live_workers(now))])

    make_task("count", "jobs.count")
    assert run_task("count").status == "success"
    assert seen == [1, 0]


# Lateness.


@pytest.fixture
def late_slot(nothing: None, make_task: Make, now: datetime) -> datetime:
    """Make a task, and return when its slot is too late: MISFIRE_THRESHOLD and a poll after it."""
    make_task("night", NOTHING, "every 5 minutes")
    return now + 5 * MINUTE + 61 * SECOND


def test_a_late_slot_is_a_warning(late_slot: datetime) -> None:
    make_scheduler(late_slot)
    assert said(late_slot - SECOND)[0] == "OK"
    sentence = "Task night was due at 2026-03-01 12:05:00 UTC and has not been fired."
    assert said(late_slot) == ("WARNING", sentence)


def test_a_late_slot_is_reported_once(late_slot: datetime) -> None:
    make_scheduler(late_slot)
    level, sentence = said(late_slot, deep=True)
    assert level == "WARNING"
    assert sentence == (
        "Task night was due at 2026-03-01 12:05:00 UTC and has not been fired, although a worker "
        "that knows its handler is alive."
    )


def test_a_new_scheduler_has_time_to_catch_up(late_slot: datetime) -> None:
    make_scheduler(late_slot, up=MINUTE)
    assert said(late_slot)[0] == "OK"
    assert latest_due(late_slot) is None
    oldest = oldest_due(late_slot)
    assert oldest is not None
    assert oldest.since == late_slot - 61 * SECOND


def test_slots_wait_for_their_handler(late_slot: datetime) -> None:
    make_scheduler(late_slot, handlers=[])
    assert said(late_slot)[0] == "OK"
    assert oldest_due(late_slot) is None


@pytest.mark.parametrize("fields", [{"enabled": False}, {"handler": "jobs.unknown"}], ids=str)
def test_slots_that_nobody_fires_are_not_late(late_slot: datetime, fields: dict[str, Any]) -> None:
    make_scheduler(late_slot)
    Task.objects.update(**fields)
    assert said(late_slot)[0] == "OK"


def test_parked_tasks_are_not_late(late_slot: datetime) -> None:
    make_scheduler(late_slot)
    TaskState.objects.update(parked_at=late_slot)
    assert said(late_slot) == ("OK", "1 scheduler is alive, nothing is late. 1 task parked.")


@pytest.fixture
def waiting(nothing: None, make_task: Make, now: datetime) -> Execution:
    """Return an execution that has been due since ``now``."""
    row = Execution.for_task(make_task("by-hand", NOTHING), trigger="manual", now=now)
    row.save()
    return row


def test_a_late_execution_is_a_warning(waiting: Execution, now: datetime) -> None:
    late = now + 61 * SECOND
    make_scheduler(late)
    assert said(late - SECOND)[0] == "OK"
    sentence = (
        f"Execution #{waiting.pk} of by-hand has been due since 2026-03-01 12:00:00 UTC and no "
        "worker has claimed it."
    )
    assert said(late) == ("WARNING", sentence)


@pytest.mark.parametrize(
    "fields",
    [
        {"queue": "reports"},
        {"handler": "jobs.unknown"},
        {"probation_seconds": 60},
        {"status": "cancelled"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("waiting")
def test_what_no_worker_may_claim_is_not_late(now: datetime, fields: dict[str, Any]) -> None:
    make_scheduler(now + HOUR, queues=["default"])
    Execution.objects.update(**fields)
    assert said(now + HOUR)[0] == "OK"


@pytest.mark.usefixtures("waiting")
def test_executions_held_back_are_not_late(now: datetime) -> None:
    """The task runs already, and its executions run one after the other."""
    claim(make_worker("busy", now), now)
    make_scheduler(now + HOUR)
    second = Execution.for_task(Task.objects.get(), trigger="manual", now=now)
    second.save()
    assert said(now + HOUR)[0] == "OK"
    Task.objects.update(overlap_policy="allow")
    assert said(now + HOUR)[0] == "WARNING"


@pytest.mark.usefixtures("waiting")
def test_a_pause_is_well_and_mentioned(now: datetime) -> None:
    make_scheduler(now + HOUR)
    begin_pause(now, until=now + DAY, reason="The database moves.")
    pause = "All tasks paused until 2026-03-02 12:00:00 UTC: The database moves."
    assert said(now + HOUR) == ("OK", f"1 scheduler is alive, nothing is late. {pause}")


def test_the_oldest_of_both_counts(waiting: Execution, late_slot: datetime, now: datetime) -> None:
    make_scheduler(late_slot)
    oldest = oldest_due(late_slot)
    assert oldest is not None
    assert (oldest.execution_id, oldest.since) == (waiting.pk, now)
    waiting.delete()
    oldest = oldest_due(late_slot)
    assert oldest is not None
    assert (oldest.execution_id, oldest.task_name) == (None, "night")


# Invariants.


@pytest.mark.usefixtures("waiting")
def test_deep_adds_the_invariants(now: datetime) -> None:
    Execution.objects.update(queue="reports")
    make_scheduler(now + HOUR, queues=["default"])
    assert said(now + HOUR)[0] == "OK"
    report = health(now + HOUR, deep=True)
    assert report.level is Level.WARNING
    assert "No worker serves the queue reports: 1 execution cannot be claimed" in report.sentence
    assert [violation.code for violation in report.violations] == ["unclaimable"]
    assert said(now + HOUR, deep=True, seen=[])[0] == "OK"
    assert health(now + HOUR, deep=True, seen=report.violations) == report


# The plain value.


def test_the_worst_problem_comes_first(now: datetime) -> None:
    report = Health(tuple(Problem(Level.WARNING, f"{number}\nis wrong.") for number in range(7)))
    assert report.level is Level.WARNING
    assert report.sentence == (
        "0 is wrong. 1 is wrong. 2 is wrong. 3 is wrong. 4 is wrong. And 2 more problems."
    )
    assert Health(remark="Well.").level is Level.OK


def test_the_database_tells_the_time(db: None) -> None:
    make_scheduler(Worker.objects.database_time(), silent=50 * SECOND)
    assert health().level is Level.OK
    Worker.objects.update(heartbeat_at=Worker.objects.database_time() - 70 * SECOND)
    assert health().level is Level.CRITICAL


def test_queries_are_few() -> None:
    make_scheduler(Worker.objects.database_time())
    with CaptureQueriesContext(connection) as captured:
        health()
    assert len(captured) == 6


# Databases that are away.


@contextmanager
def renamed(table: str) -> Iterator[None]:
    """Rename a table meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO elsewhere")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE elsewhere RENAME TO {table}")


@pytest.mark.django_db(transaction=True)
def test_missing_tables_are_named(now: datetime) -> None:
    with renamed(Worker._meta.db_table):
        report = health(now)
    assert report.level is Level.CRITICAL
    assert report.sentence.startswith("The tables of scheduled tasks are missing or cannot be read")
    assert "Did migrate run on this database" in report.sentence
    assert health(now).sentence.startswith("No scheduler is alive")


@pytest.mark.django_db(transaction=True)
def test_a_locked_table_does_not_hold_it_up(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    """As while a migration runs; otherwise each probe would leave a waiting connection behind."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite does not lock readers out.")
    monkeypatch.setattr(health_module, "STATEMENT_SECONDS", 0.2)
    make_scheduler(now)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {Worker._meta.db_table}")
        sentence = "The database does not answer: canceling statement due to statement timeout."
        assert said(now) == ("CRITICAL", sentence)
    finally:
        other.close()
    assert said(now)[0] == "OK"
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(health_module, "health_of", fail)


def test_errors_of_databases_hold_no_secrets(
    now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, OperationalError("refused: password=hunter2\nDetails follow."))
    level, sentence = said(now)
    assert level == "CRITICAL"
    assert sentence.startswith("The database does not answer: refused: password=")
    assert "hunter2" not in sentence
    assert "Details" not in sentence
    failing(monkeypatch, DatabaseError())
    assert said(now) == ("CRITICAL", "The database does not answer: DatabaseError.")


# Asking with a limit.


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace ``health``; return the options of its calls. Nothing sleeps."""
    made: list[dict[str, Any]] = []
    violations = (
        Violation(Invariant.NOT_FIRED, "1", "One."),
        Violation(Invariant.NOT_FIRED, "2", "Two."),
    )

    def look(**options: Any) -> Health:
        made.append(options)
        return Health(violations=violations if options["deep"] else ())

    monkeypatch.setattr(health_check, "health", look)
    monkeypatch.setattr(health_check, "sleep", lambda seconds: made.append({"slept": seconds}))
    return made


def test_what_is_found_is_looked_at_twice(looks: list[dict[str, Any]]) -> None:
    report = check_health(deep=True)
    assert looks == [
        {"deep": True, "seen": None},
        {"slept": 6.0},
        {"deep": True, "seen": report.violations},
    ]
    looks.clear()
    assert check_health().level is Level.OK
    assert looks == [{"deep": False, "seen": None}]


def test_the_second_look_keeps_to_the_limit(looks: list[dict[str, Any]]) -> None:
    check_health(deep=True, within=4)
    assert 0 < looks[1]["slept"] <= 2.5


def test_a_check_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    over = Event()
    monkeypatch.setattr(health_check, "health", lambda **options: over.wait())
    report = check_health(within=0.05)
    over.set()
    assert (report.level, report.sentence) == (Level.CRITICAL, "The database does not answer.")


def test_an_unexpected_error_is_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("It is broken.\nVery."))
    report = check_health()
    assert report.level is Level.CRITICAL
    assert report.sentence == "The check itself failed: RuntimeError: It is broken. Very."


def test_wrong_settings_are_critical(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, InvalidSettings("SCHEDULED_TASKS must be a dictionary, not 3."))
    report = check_health()
    assert report.level is Level.CRITICAL
    assert report.sentence == (
        "The settings are wrong: SCHEDULED_TASKS must be a dictionary, not 3."
    )
