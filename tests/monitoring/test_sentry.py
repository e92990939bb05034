"""What Sentry hears of runs, through its own SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from scheduled_tasks import Skip, cancel_execution, run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.monitoring import sentry
from scheduled_tasks.signals import execution_finished, execution_started
from scheduled_tasks.worker.run_here import run_here
from scheduled_tasks.worker.scheduler import Scheduler
from tests.monitoring.sentry_relay import Relay, running_relay
from tests.support.processes import LONG, ended, manage, options

Make = Callable[..., Task]
MakeScheduler = Callable[..., Scheduler]
CheckIns = Callable[[], list[dict[str, Any]]]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def relay() -> Iterator[Relay]:
    """Run what stands for Sentry."""
    with running_relay() as relay:
        yield relay


@pytest.fixture
def check_ins(relay: Relay) -> Iterator[CheckIns]:
    """Connect this process; return what gets the check-ins so far."""

    def heard() -> list[dict[str, Any]]:
        sentry_sdk.flush(timeout=LONG)
        return relay.check_ins

    sentry_sdk.init(dsn=relay.dsn, environment="tests", default_integrations=False)
    sentry.connect()
    yield heard
    execution_started.disconnect(dispatch_uid="scheduled_tasks.sentry")
    execution_finished.disconnect(dispatch_uid="scheduled_tasks.sentry")
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="jobs.work")
    def work() -> None: ...

    @scheduled_task(name="jobs.fail")
    def fail() -> None:
        raise RuntimeError("no luck")

    @scheduled_task(name="jobs.skip")
    def skip() -> None:
        raise Skip("nothing to do")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("handlers")
class TestOfRuns:
    @pytest.mark.parametrize("ends", ["jobs.work ok", "jobs.skip ok", "jobs.fail error"])
    def test_start_and_end_are_one_check_in(
        self,
        ends: str,
        make_task: Make,
        scheduler: MakeScheduler,
        now: datetime,
        check_ins: CheckIns,
    ) -> None:
        handler, status = ends.split()
        make_task("nightly", handler, "0 12 * * *", timezone="Europe/Berlin", timeout=90)
        run_task_now("nightly", now=now)
        scheduler().tick(now)
        begun, finished = check_ins()
        assert begun["monitor_slug"] == finished["monitor_slug"] == "nightly"
        assert begun["check_in_id"] == finished["check_in_id"]
        assert (begun["status"], finished["status"]) == ("in_progress", status)
        assert finished["duration"] == Execution.objects.get().duration_ms / 1000
        assert finished["environment"] == "tests"
        assert finished["monitor_config"] == {
            "schedule": {"type": "crontab", "value": "0 12 * * *"},
            "timezone": "Europe/Berlin",
            "max_runtime": 2,
        }

    def test_retries_are_part_of_one_check_in(
        self,
        make_task: Make,
        scheduler: MakeScheduler,
        now: datetime,
        check_ins: CheckIns,
    ) -> None:
        make_task("nightly", "jobs.fail", max_retries=1)
        run_task_now("nightly", now=now)
        scheduler().tick(now)
        scheduler().tick(now + MINUTE)
        heard = check_ins()
        assert [each["status"] for each in heard] == ["in_progress", "in_progress", "error"]
        assert len({each["check_in_id"] for each in heard}) == 1

    def test_what_is_not_run_is_not_reported(
        self,
        make_task: Make,
        scheduler: MakeScheduler,
        now: datetime,
        check_ins: CheckIns,
    ) -> None:
        task = make_task("nightly", "jobs.work", "every 5 minutes", misfire_policy="skip")
        cancel_execution(run_task_now("nightly", now=now).pk)
        run_here(Execution.for_task(task, trigger="cli", now=now, test_mode=True), now=now)
        scheduler().tick(now + 23 * MINUTE)
        assert {row.status for row in Execution.objects.all()} == {"cancelled", "success", "missed"}
        assert check_ins() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_two_processes_report_one_check_in(make_task: Make, relay: Relay, tmp_path: Path) -> None:
    """The run goes on until its begin has been heard."""
    release, mark = tmp_path / "release", tmp_path / "mark"
    relay.on_check_in = release.touch
    make_task("held", "jobs.hold")
    run_task_now("held")
    process = manage(
        "runscheduler",
        "--once",
        "--no-sync",
        DJANGO_SETTINGS_MODULE="tests.support.settings_with_sentry",
        SENTRY_DSN=relay.dsn,
        RELEASE_FILE=str(release),
        MARK_FILE=str(mark),
        TEST_OPTIONS=options(),
    )
    code, output = ended(process)
    assert code == 0, output
    assert Execution.objects.get().status == "success", output
    assert [each["status"] for each in relay.check_ins] == ["in_progress", "ok"]
    assert len({each["check_in_id"] for each in relay.check_ins}) == 1


@pytest.mark.without_database
class TestOfMonitors:
    def test_most_names_stay_as_they_are(self) -> None:
        assert sentry.slug_of("clean-up_2") == "clean-up_2"

    def test_other_names_stay_apart(self) -> None:
        names = ["shop.cleanup", "shop-cleanup", "x" * 99 + "a", "x" * 99 + "b"]
        slugs = [sentry.slug_of(name) for name in names]
        assert len(set(slugs)) == 4
        assert all(len(slug) <= 50 and slug.startswith(("shop-cleanup", "xxx")) for slug in slugs)
        assert not any(sentry.UNFIT.search(slug) for slug in slugs)

    @pytest.mark.parametrize(
        ("schedule", "config"),
        [
            ("0 12 * * MON-FRI", {"type": "crontab", "value": "0 12 * * MON-FRI"}),
            ("@daily", {"type": "crontab", "value": "@daily"}),
            ("every 15 minutes", {"type": "interval", "value": 15, "unit": "minute"}),
            ("@every 1h30m", {"type": "interval", "value": 90, "unit": "minute"}),
            ("every 48 hours", {"type": "interval", "value": 2, "unit": "day"}),
        ],
    )
    def test_schedules_are_told_in_its_form(self, schedule: str, config: dict[str, Any]) -> None:
        told = sentry.config_of(Task(schedule=schedule, timezone="Europe/Berlin", start_within=61))
        assert told == {"schedule": config, "timezone": "Europe/Berlin", "checkin_margin": 2}

    @pytest.mark.parametrize("schedule", ["", "every 90 seconds", "at 2030-01-01 09:00"])
    def test_other_schedules_are_not_told(self, schedule: str) -> None:
        assert sentry.config_of(Task(schedule=schedule)) is None

    def test_max_runtime_comes_before_the_timeout(self) -> None:
        task = Task(schedule="@daily", max_runtime=3600, timeout=90)
        assert (sentry.config_of(task) or {})["max_runtime"] == 60
