"""A whole worker whose fork server hangs: nobody but itself can notice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from scheduled_tasks.executors.process import operating_system
from scheduled_tasks.models import Task
from scheduled_tasks.operations.tasks import run_task_now
from tests.support.processes import LONG, alive, ended, options, running, wait_until, written

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.mark.usefixtures("mark")
def test_a_worker_replaces_a_hanging_fork_server(
    tmp_path: Path,
) -> None:
    pids = tmp_path / "pids"
    Task(name="again", handler="jobs.stay_at_first", payload={"path": str(pids)}).save()
    again = run_task_now("again")

    def finished() -> bool:
        again.refresh_from_db()
        return again.finished

    with running(TEST_OPTIONS=options(LEASE=1.5)) as worker:
        wait_until(lambda: len(written(pids)) == 1, within=LONG)
        [first] = operating_system.children_of(worker.pid)
        os.kill(first, signal.SIGSTOP)
        wait_until(finished, within=LONG)
        assert not alive(int(written(pids)[0]))
        assert not psutil.pid_exists(first)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert "the fork server hangs and is killed: it has echoed none of" in output
    assert (again.status, again.attempt, again.losses) == ("success", 2, 0)
