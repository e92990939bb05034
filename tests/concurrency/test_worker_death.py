"""Workers and fork servers that are killed or frozen: nothing of their runs is left running.

Where it says that runs are dead, they are so while the execution is still held by the worker that
made them: dead before anybody may run it again.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from django.db import connection

from scheduled_tasks.models import Execution, Task, Worker
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines, wait_until_dead
from tests.support.processes import LONG, alive, ended, options, running, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)

#: Long enough for a loaded machine to see runs dead in the sixth that is kept as a margin.
LEASE = 6


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Return the file into which handlers write the numbers of their processes."""
    return tmp_path / "pids"


def row_of(worker: subprocess.Popen[str]) -> Worker:
    return Worker.objects.get(pid=worker.pid)


def check_held_by(worker: Worker, *executions: Execution) -> None:
    for execution in executions:
        assert (fresh(execution).status, execution.worker) == ("running", str(worker.pk))


def test_a_killed_workers_runs_die_before_takeover(pids: Path) -> None:
    again = queue_a_run("stay_at_first", payload={"path": str(pids)})
    parent = queue_a_run("leave_descendants", payload={"path": str(pids), "stay": True})
    stubborn = queue_a_run("ignore_terms", payload={"path": str(pids)}, on_lost=Task.OnLost.FAIL)
    quick = options(LEASE=LEASE)
    with running(TEST_OPTIONS=quick) as victim:
        wait_for_lines(pids, 4)
        lost = row_of(victim)
        with running("--worker-name=heir", TEST_OPTIONS=quick) as heir:
            victim.kill()
            wait_until_dead(pids)
            check_held_by(lost, parent, stubborn, again)
            wait_until(lambda: fresh(again).status == "success", within=LONG)
            wait_until(lambda: fresh(stubborn).finished, within=LONG)
            heir.send_signal(signal.SIGKILL)
    assert (again.attempt, again.losses, again.worker_label) == (2, 0, "heir")
    assert (stubborn.status, stubborn.attempt) == ("failed", 1)
    assert (stubborn.error_category, stubborn.error) == ("lost", "The worker was lost.")
    lost.refresh_from_db()
    assert lost.state == Worker.State.LOST
    wait_until_dead(pids)


def test_a_frozen_workers_runs_die_before_takeover(pids: Path, tmp_path: Path) -> None:
    environment = {
        "TEST_OPTIONS": options(LEASE=LEASE),
        "MARK_FILE": str(tmp_path / "marks"),
        "RELEASE_FILE": str(tmp_path / "release"),
    }
    held = queue_a_run("hold")
    once = queue_a_run("ignore_terms", payload={"path": str(pids)}, on_lost=Task.OnLost.FAIL)
    with running("--worker-name=frozen", **environment) as frozen:
        wait_for_lines(pids, 1)
        wait_for_lines(tmp_path / "marks", 1)
        lost = row_of(frozen)
        runs = runs_of(frozen)
        with running("--worker-name=heir", **environment) as heir:
            freeze(frozen)
            wait_until(lambda: not any(map(alive, runs)), within=LONG)
            check_held_by(lost, held, once)
            wait_for_lines(tmp_path / "marks", 2)
            check_held_by(row_of(heir), held)
            frozen.send_signal(signal.SIGCONT)
            code, output = ended(frozen)
            check_held_by(row_of(heir), held)
            (tmp_path / "release").touch()
            wait_until(lambda: fresh(held).finished, within=LONG)
    assert code == 1, output
    assert "given up as lost" in output
    assert (held.status, held.attempt, held.losses) == ("success", 2, 0)
    assert (fresh(once).status, once.error) == ("failed", "The worker was lost.")
    lost.refresh_from_db()
    assert lost.state == Worker.State.LOST


def test_a_thawed_worker_reruns_what_it_lost(pids: Path) -> None:
    again = queue_a_run("stay_at_first", payload={"path": str(pids)})
    with running(TEST_OPTIONS=options(LEASE=1.5)) as worker:
        wait_for_lines(pids, 1)
        freeze(worker)
        wait_until_dead(pids)
        check_held_by(row_of(worker), again)
        worker.send_signal(signal.SIGCONT)
        wait_until(lambda: fresh(again).finished, within=LONG)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert (again.status, again.attempt, again.losses) == ("success", 2, 0)


def test_a_killed_fork_servers_runs_are_run_again(
    pids: Path,
) -> None:
    again = queue_a_run("stay_at_first", payload={"path": str(pids)})
    parent = queue_a_run(
        "leave_descendants", payload={"path": str(pids), "stay": True}, on_lost=Task.OnLost.FAIL
    )
    with running() as worker:
        wait_for_lines(pids, 3)
        first_pids = [int(pid) for pid in written(pids)]
        os.kill(fork_server_of(worker), signal.SIGKILL)
        wait_until(lambda: fresh(again).finished, within=LONG)
        assert not any(map(alive, first_pids))
        own = row_of(worker)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert "the fork server has ended and is restarted" in output
    assert (again.status, again.attempt, again.losses) == ("success", 2, 0)
    assert again.worker == str(own.pk)
    assert (fresh(parent).status, parent.error_category) == ("failed", "lost")
    assert parent.error == "The fork server was killed."


@pytest.mark.any_database
@pytest.mark.parametrize("executor", ["process", "thread"])
def test_a_busy_handler_does_not_stop_the_heartbeat(executor: str) -> None:
    busy = queue_a_run("spin", payload={"seconds": 2}, executor=executor)
    with running() as worker:
        wait_until(lambda: fresh(busy).status == "running", within=LONG)
        mine = row_of(worker)
        with running("--concurrency=1"):  # who would take it if the worker seemed lost
            beats = set()

            def finished() -> bool:
                mine.refresh_from_db()
                beats.add(mine.heartbeat_at)
                return bool(fresh(busy).finished)

            wait_until(finished, within=LONG)
    assert (busy.status, busy.attempt, busy.losses) == ("success", 1, 0)
    assert busy.started_at
    assert busy.finished_at
    assert max(beats) - busy.started_at > (busy.finished_at - busy.started_at) / 2
    mine.refresh_from_db()
    assert mine.state == Worker.State.RUNNING


def fork_server_of(worker: subprocess.Popen[str]) -> int:
    [server] = psutil.Process(worker.pid).children()
    return server.pid


def freeze(worker: subprocess.Popen[str]) -> None:
    """Stop a worker where it is in no transaction: nobody can take over what is locked."""

    def frozen_without_a_lock() -> bool:
        worker.send_signal(signal.SIGSTOP)
        process = psutil.Process(worker.pid)
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, within=LONG)
        if nobody_holds_a_lock():
            return True
        worker.send_signal(signal.SIGCONT)
        return False

    wait_until(frozen_without_a_lock, within=LONG)


def nobody_holds_a_lock() -> bool:
    if connection.vendor == "sqlite":
        with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0.2)) as apart:
            try:
                apart.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
        return True
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' "
            "AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0]) == 0


def runs_of(worker: subprocess.Popen[str]) -> list[int]:
    """Return the processes of the runs of a worker, without those that wait for one."""
    children = psutil.Process(fork_server_of(worker)).children()
    return [child.pid for child in children if child.name().startswith("run-")]
