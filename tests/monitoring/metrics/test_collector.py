"""Metrics are what the database says, in the format of Prometheus."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import ending, firing
from scheduled_tasks.models import Alert, Delivery, Task, Worker
from scheduled_tasks.monitoring.health.violations import Violation
from scheduled_tasks.monitoring.metrics import collector as metrics
from scheduled_tasks.monitoring.metrics import invariant_scans, measurements
from scheduled_tasks.monitoring.metrics.invariant_scans import InvariantScans
from scheduled_tasks.monitoring.rollups.folding import fold_all
from tests.monitoring.fleet import make_scheduler
from tests.monitoring.metrics.exposed import parsed, scraped, value
from tests.support.attempts import NOTHING, claim, outcome

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]

Make = Callable[..., Task]
HOUR = timedelta(hours=1)


def make_deliveries(now: datetime) -> None:
    """Store many heartbeats that arrived, and one that did not."""
    values = {"transport": "heartbeat", "event": "start", "created_at": now, "due_at": now}
    Delivery.objects.bulk_create(
        Delivery(**values, finished_at=now, delivered=number > 0, attempts=1)
        for number in range(2_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduled_tasks_delivery")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep nothing of another test in the cache."""
    monkeypatch.setattr(metrics, "exposition", metrics.Exposition())


@pytest.fixture
def story(make_task: Make, worker: Worker, now: datetime) -> Task:
    """Let a slot succeed in the second attempt, a run fail, one wait, and slots be missed."""
    task = make_task("a", NOTHING, "every 1 hour", max_retries=1, retry_delay=0)
    firing.fire(now + HOUR, limit=10)
    for status in ("failed", "success"):
        row = claim(worker, now + HOUR)
        ending.end([outcome(row, now + HOUR, status)], worker, now + HOUR)
    Task.objects.update(max_retries=0)
    run_task_now("a", now=now + HOUR)
    ending.end([outcome(claim(worker, now + HOUR), now + HOUR, "failed")], worker, now + HOUR)
    Task.objects.update(misfire_policy="skip")
    firing.fire(now + 4 * HOUR + timedelta(minutes=30), limit=10)
    run_task_now("a", now=now + 5 * HOUR)
    return task


def test_what_happened_is_exposed(story: Task, now: datetime) -> None:
    found = scraped(now + 5 * HOUR + timedelta(seconds=90))
    assert value(found, "executions_total", task="a", status="success") == 1
    assert value(found, "executions_total", task="a", status="failed") == 1
    assert value(found, "executions_total", task="a", status="missed") == 3
    assert value(found, "executions_total", task="a", status="skipped") is None
    assert value(found, "run_seconds_total", task="a") == 0.002
    assert value(found, "slots_started_total", task="a") == 1
    assert value(found, "slots_on_time_total", task="a") == 1
    assert value(found, "trigger_reliability_ratio") == 0.25
    assert value(found, "retried_executions_total", retries="1") == 1
    assert value(found, "queued_executions", queue="default") == 1
    assert value(found, "running_executions") == 0
    assert value(found, "oldest_due_seconds") == 90
    assert value(found, "tasks", state="enabled") == 1
    assert value(found, "last_success_timestamp_seconds", task="a") == (now + HOUR).timestamp()


def test_histograms_are_cumulative(story: Task, now: datetime) -> None:
    found = scraped(now)
    assert value(found, "duration_seconds_bucket", le="0.01") == 2
    assert value(found, "duration_seconds_bucket", le="+Inf") == 2
    assert value(found, "duration_seconds_count") == 2
    assert value(found, "duration_seconds_sum") == 0.002
    assert value(found, "lateness_seconds_count") == 1
    bounds = {labels[0][1] for name, labels in found if name == "duration_seconds_bucket"}
    assert {"0.01", "0.031", "1", "3.162", "10", "10000", "+Inf"} <= {
        f"{float(bound):g}" if bound != "+Inf" else bound for bound in bounds
    }


def test_folding_changes_no_metric(story: Task, now: datetime) -> None:
    before = scraped(now + 6 * HOUR)
    fold_all()
    assert scraped(now + 6 * HOUR) == before


def test_counters_outlive_tasks(story: Task, now: datetime) -> None:
    fold_all()
    story.delete(now=now + 5 * HOUR)
    fold_all()
    found = scraped(now)
    assert value(found, "duration_seconds_count") == 2
    assert value(found, "executions_total", task="a", status="success") is None


def test_tasks_beyond_the_limit_are_added_up(
    make_task: Make, worker: Worker, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "MAX_TASKS", 1)
    for name in ("z", "a", "b"):
        make_task(name, NOTHING)
        run_task_now(name, now=now)
        ending.end([outcome(claim(worker, now), now)], worker, now)
    found = scraped(now)
    assert value(found, "executions_total", task="z", status="success") == 1
    assert value(found, "executions_total", task="other", status="success") == 2
    assert value(found, "executions_total", task="a", status="success") is None
    assert value(found, "last_success_timestamp_seconds", task="other") is None


def test_states_of_tasks_are_counted(make_task: Make, now: datetime) -> None:
    for name in ("a", "b", "c"):
        make_task(name, NOTHING)
    Task.objects.get(name="a").switch(enabled=False, now=now, by="test")
    state = Task.objects.get(name="b").state
    state.parked_at = now
    state.save()
    found = scraped(now)
    states = {state: value(found, "tasks", state=state) for state in ("enabled", "disabled")}
    assert states == {"enabled": 1, "disabled": 1}
    assert value(found, "tasks", state="parked") == 1


def test_workers_with_a_heartbeat_count(worker: Worker, now: datetime) -> None:
    assert value(scraped(now), "workers") == 0, "a row of runtask is no scheduler"
    Worker.objects.update(declaration_digest="tests")
    assert value(scraped(now), "workers") == 1
    assert value(scraped(now + HOUR), "workers") == 0


def test_alerts_and_deliveries_are_counted(now: datetime) -> None:
    fields = {"condition": "failed", "severity": "error", "message": "It failed."}
    alert = Alert.objects.create(**fields, open_key="k", raised_at=now)
    Alert.objects.create(**fields, raised_at=now, cleared_at=now)
    sent = {"alert": alert, "transport": "mail", "event": "raised", "created_at": now}
    for finished_at, delivered, attempts in (
        (None, False, 0),
        (now, False, 3),
        (now, False, 0),  # withdrawn, since its alert had cleared
        (now, True, 1),
    ):
        came_of_it = {"finished_at": finished_at, "delivered": delivered, "attempts": attempts}
        Delivery.objects.create(**sent, due_at=now, **came_of_it)
    make_deliveries(now)
    found = scraped(now)
    assert value(found, "open_alerts", condition="failed", severity="error") == 1
    assert value(found, "deliveries", state="pending") == 1
    assert value(found, "deliveries", state="given_up") == 2
    assert value(found, "alert_deliveries", state="pending") == 1
    assert value(found, "alert_deliveries", state="given_up") == 1
    assert value(found, "alert_deliveries", state="overdue") == 0
    assert value(found, "heartbeat_deliveries", state="pending") == 0
    assert value(found, "heartbeat_deliveries", state="given_up") == 1
    assert value(scraped(now + HOUR), "alert_deliveries", state="overdue") == 1


def test_an_index_finds_what_was_given_up(now: datetime) -> None:
    make_deliveries(now)
    undelivered = measurements.undelivered(using="default")
    assert "scheduled_tasks_undelivered" in undelivered.values_list("attempts").explain()
    assert value(scraped(now), "deliveries", state="given_up") == 1


def test_broken_invariants_need_no_alerts(
    story: Task, now: datetime, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "CONDITIONS": {"invariant": False}}
    clock = [0.0]
    scans = InvariantScans(monotonic=lambda: clock[0])
    monkeypatch.setattr(metrics.exposition, "_invariants", scans)

    def broken(seconds: float) -> tuple[float | None, ...]:
        clock[0] = seconds
        samples = scraped(now)
        codes = ("not_fired", "clock_differs")
        return tuple(value(samples, "broken_invariants", invariant=code) for code in codes)

    # The slots of the story have come long ago.
    make_scheduler(Worker.objects.database_time())
    # Workers have six seconds to mend what the first scan has found.
    assert [broken(0), broken(5.9), broken(6)] == [(0, 0), (0, 0), (1, 0)]
    Worker.objects.all().delete()
    assert broken(12) == (0, 0)


def test_invariants_are_scanned_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 299.0, 300.0, 300.0])
    scanned: list[int] = []

    def scan() -> list[Violation]:
        scanned.append(1)
        return []

    monkeypatch.setattr(invariant_scans, "scan_now", scan)
    scans = InvariantScans(monotonic=lambda: next(moments))
    counts = []
    for _ in range(3):
        scans.broken()
        counts.append(len(scanned))
    assert counts == [1, 1, 2]


def test_a_slow_scan_hides_no_other_metric(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def cut_off() -> list[Violation]:
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr(invariant_scans, "scan_now", cut_off)
    clock = iter([0.0, 1.0, 300.0, 300.0])
    scans = InvariantScans(monotonic=lambda: next(clock))
    assert [scans.broken() for _ in range(3)] == [{}, {}, {}]
    assert len(caplog.records) == 2


def test_names_of_tasks_are_escaped(make_task: Make, now: datetime) -> None:
    """Only code that goes around the checks can store such a name."""
    name = 'a "b"\\n\n'
    Task.objects.filter(pk=make_task("a", NOTHING).pk).update(name=name)
    found = scraped(now)
    assert value(found, "slots_started_total", task=name) == 0
    assert value(found, "executions_total", task=name, status="failed") == 0


def test_a_scrape_is_cached(now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(metrics, "monotonic", lambda: clock[0])
    metrics.exposition.text(now)
    queries = []
    for seconds in (9.9, 10.0):
        clock[0] = seconds
        with CaptureQueriesContext(connection) as captured:
            metrics.exposition.text(now)
        queries.append(len(captured) > 0)
    assert queries == [False, True]


def test_a_scrape_makes_few_queries(story: Task, now: datetime) -> None:
    scraped(now)  # scans the invariants
    with CaptureQueriesContext(connection) as captured:
        scraped(now)
    assert len(captured) <= 14


def test_a_wrong_host_clock_changes_nothing(
    make_task: Make, rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = timezone.now()
    make_scheduler(real)
    run_task_now(make_task("a", NOTHING), now=real)
    monkeypatch.setattr(timezone, "now", lambda: real + HOUR)
    found = parsed(metrics.view(rf.get("/metrics/")).content.decode())
    assert value(found, "workers") == 1
    assert 0 <= value(found, "oldest_due_seconds") < HOUR.total_seconds() / 2


def test_the_time_takes_no_query(story: Task, now: datetime) -> None:
    counted = []
    for moment in (now, None):
        with CaptureQueriesContext(connection) as captured:
            measurements.measure(moment)
        counted.append(len(captured))
    assert counted[0] == counted[1]


def test_the_view_answers_prometheus(story: Task, rf: RequestFactory, now: datetime) -> None:
    response = metrics.view(rf.get("/metrics/"))
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain; version=")
    found = parsed(response.content.decode())
    assert value(found, "executions_total", task="a", status="missed") == 3
    assert metrics.view(rf.post("/metrics/")).status_code == 405


def test_a_lost_database_is_answered_with_503(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(now: datetime) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(metrics, "measure", away)
    response = metrics.view(rf.get("/metrics/"))
    assert response.status_code == 503
    assert b"not available" in response.content
    # It is asked again at once, and nothing is kept.
    monkeypatch.undo()
    assert metrics.view(rf.get("/metrics/")).status_code == 200


def test_a_scrape_that_hangs_holds_up_no_other(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "WAIT_SECONDS", 0.01)
    with metrics.exposition._reading:
        assert metrics.view(rf.get("/metrics/")).status_code == 503


def test_a_scrape_that_never_ends_is_given_up(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "WAIT_SECONDS", 0.01)
    clock = [1_000.0]
    monkeypatch.setattr(metrics, "monotonic", lambda: clock[0])
    monkeypatch.setattr(metrics.exposition, "_reading_since", clock[0])
    with metrics.exposition._reading:
        for seconds, status in ((1_060.0, 503), (1_061.0, 503), (1_062.0, 200)):
            clock[0] = seconds
            assert metrics.view(rf.get("/metrics/")).status_code == status


def test_a_missing_package_is_named() -> None:
    code = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "import django; django.setup()\n"
        "import scheduled_tasks.monitoring.rollups.figures\n"
        "import scheduled_tasks.monitoring.metrics.collector\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = "install prometheus-client, or the extra 'metrics' of this package."
    assert done.stderr.strip().endswith(
        f"ImproperlyConfigured: Metrics need prometheus-client: {said}"
    )
