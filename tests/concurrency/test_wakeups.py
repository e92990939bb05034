"""Workers that look by themselves every ten minutes, and yet begin at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone

from scheduled_tasks import register_task, run_task_now
from scheduled_tasks.lifecycle import stopping
from scheduled_tasks.lifecycle.pausing import begin_pause, end_pauses
from scheduled_tasks.models import Execution
from tests.concurrency.runs import wait_for
from tests.support.listening import needs_postgresql
from tests.support.processes import LONG, options, running, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)

SELDOM = {"POLL_INTERVAL": 600, "HEARTBEAT_INTERVAL": 15, "LEASE": 60}


@pytest.fixture(autouse=True)
def on_postgresql() -> None:
    """Skip all of this on other databases."""
    needs_postgresql()


def test_a_requested_run_begins_immediately_on_every_worker() -> None:
    for queue in ("one", "two"):
        register_task(queue, "jobs.answer", queue=queue)
    with (
        running("--queues=one", TEST_OPTIONS=options(EXECUTOR="thread", **SELDOM)),
        running("--queues=two", TEST_OPTIONS=options(EXECUTOR="thread", **SELDOM)),
    ):
        for queue in ("one", "two"):
            wait_until(all_is_quiet, within=LONG)
            wait_for(run_task_now(queue), "success")


def test_what_is_cancelled_is_stopped_at_once(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    register_task("one", "jobs.clean_up", payload={"path": str(marks)})
    with running(TEST_OPTIONS=options(**SELDOM)):
        run = run_task_now("one")
        wait_until(lambda: len(written(marks)) == 1, within=LONG)
        wait_until(all_is_quiet, within=LONG)
        stopping.cancel([run.pk], timezone.now(), reason="Not today.")
        wait_for(run, "cancelled")
    assert written(marks)[1:] == ["cleaned up"]


def test_a_new_task_fires_at_its_first_slot() -> None:
    with running(TEST_OPTIONS=options(EXECUTOR="thread", **SELDOM)):
        wait_until(all_is_quiet, within=LONG)
        register_task("one", "jobs.answer", "every 1 second")
        wait_until(Execution.objects.filter(status="success").exists, within=LONG)


def test_runs_waiting_for_a_pause_begin_when_resumed() -> None:
    register_task("one", "jobs.answer")
    begin_pause(timezone.now())
    run = run_task_now("one")
    with running(TEST_OPTIONS=options(EXECUTOR="thread", **SELDOM)):
        wait_until(all_is_quiet, within=LONG)
        assert Execution.objects.queued().count() == 1
        end_pauses(timezone.now())
        wait_for(run, "success")


def all_is_quiet() -> bool:
    """Say whether a worker listens, and nobody has asked the database for anything for a second."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT max(state_change) < clock_timestamp() - interval '1 second', "
            "count(*) FILTER (WHERE application_name = 'scheduled-tasks listener') "
            "FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        quiet, listeners = cursor.fetchone()
    return bool(quiet and listeners)
