"""Schedulers that die, and a database that goes away under them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.db import connection

from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations import run_task_now
from tests.processes import manage, schedulers, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = json.dumps({"HEARTBEAT_INTERVAL": 0.3, "LEASE": 3, "POLL_INTERVAL": 0.2})


def test_a_run_whose_worker_was_killed_is_run_again_by_another(tmp_path: Path) -> None:
    marks, release = tmp_path / "marks", tmp_path / "release"
    environment = {
        "TEST_OPTIONS": QUICK,
        "MARK_FILE": str(marks),
        "RELEASE_FILE": str(release),
    }
    Task(name="hold", handler="jobs.hold").save()
    Task(name="once", handler="jobs.hold", on_lost=Task.OnLost.FAIL).save()
    again, once = run_task_now("hold"), run_task_now("once")
    victim = manage("runscheduler", "--no-sync", "--verbosity=0", **environment)
    wait_until(lambda: marks.exists() and marks.read_text().count("\n") == 2, within=20)
    victim.kill()
    victim.communicate()
    with schedulers(1, "--no-sync", **environment):
        wait_until(lambda: marks.read_text().count("\n") == 3, within=30)
        release.touch()
        wait_until(lambda: not Execution.objects.filter(finished_at=None).exists(), within=20)
    again.refresh_from_db()
    once.refresh_from_db()
    assert (again.status, again.attempt, again.losses) == ("success", 2, 1)
    assert (once.status, once.attempt, once.error_category) == ("failed", 1, "lost")
    assert Worker.objects.filter(state=Worker.State.LOST).count() == 1


def test_a_scheduler_outlives_its_database_connections(tmp_path: Path) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that a server could end.")
    marks = tmp_path / "marks"
    Task(name="every-second", handler="jobs.mark", schedule="every 1 second").save()
    with schedulers(1, "--no-sync", TEST_OPTIONS=QUICK, MARK_FILE=str(marks)):
        for runs in (2, 4, 6):
            wait_until(lambda runs=runs: marks.exists() and lines(marks) >= runs, within=30)
            end_all_other_connections()
        wait_until(lambda: lines(marks) >= 8, within=30)
    assert set(Execution.objects.values_list("attempt", flat=True)) <= {0, 1}
    assert not Execution.objects.running().exists()


def test_schedulers_that_start_at_once_sync_the_declarations_once() -> None:
    with schedulers(3, TEST_OPTIONS=QUICK):
        wait_until(lambda: Worker.objects.count() == 3, within=30)
        wait_until(lambda: Task.objects.filter(origin=Task.Origin.CODE).exists(), within=30)
    declared = {"mark", "hold", "fail", "cleanup", "take_orders"}
    assert declared <= set(Task.objects.values_list("name", flat=True))
    assert not Task.objects.filter(state=None).exists()


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def end_all_other_connections() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
