"""Schedulers that start at once, and a database that goes away under them."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection

from scheduled_tasks.models import Execution, Task, Worker
from tests.support.processes import LONG, options, schedulers, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_scheduler_outlives_its_database_connections(tmp_path: Path) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that a server could end.")
    marks = tmp_path / "marks"
    Task(name="every-second", handler="jobs.mark", schedule="every 1 second").save()
    with schedulers(1, "--no-sync", TEST_OPTIONS=options(), MARK_FILE=str(marks)):
        for runs in (2, 4, 6):
            wait_until(lambda runs=runs: len(written(marks)) >= runs, within=LONG)
            end_all_other_connections()
        wait_until(lambda: len(written(marks)) >= 8, within=LONG)
    assert set(Execution.objects.values_list("attempt", flat=True)) <= {0, 1}
    assert not Execution.objects.running().exists()


@pytest.mark.long
def test_schedulers_starting_at_once_sync_declarations_once() -> None:
    everything = {"DJANGO_SETTINGS_MODULE": "tests.settings"}
    with schedulers(3, TEST_OPTIONS=options(), **everything):
        wait_until(lambda: Worker.objects.count() == 3, within=LONG)
        wait_until(lambda: Task.objects.filter(origin=Task.Origin.CODE).exists(), within=LONG)
    declared = {"mark", "hold", "fail", "cleanup", "take_orders"}
    assert declared <= set(Task.objects.values_list("name", flat=True))
    assert not Task.objects.filter(state=None).exists()


def end_all_other_connections() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
