"""Signals that ask a command to end: what becomes of its runs, and its exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from scheduled_tasks.executors.process.operating_system import STOP_SIGNALS
from scheduled_tasks.models import Execution, Worker
from tests.concurrency.runs import fresh, make_task_of, queue_a_run, wait_for, wait_for_lines
from tests.support.processes import (
    LONG,
    ROOT,
    alive,
    ended,
    environment_of,
    options,
    running,
    started,
    wait_until,
    written,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def signals(*short: str) -> pytest.MarkDecorator:
    """Return a parameter that is each signal; all but these ones in the long form only."""
    marks = {number: () if number.name in short else pytest.mark.long for number in STOP_SIGNALS}
    each = [pytest.param(number, marks=marks[number], id=number.name) for number in STOP_SIGNALS]
    return pytest.mark.parametrize("number", each)


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Return the file into which handlers write the numbers of their processes."""
    return tmp_path / "pids"


@signals("SIGTERM")
def test_repeated_signals_end_an_idle_worker_with_0(number: signal.Signals) -> None:
    with running() as worker:
        while worker.poll() is None:
            worker.send_signal(number)
            time.sleep(0.01)
        code, output = ended(worker)
    assert code == 0, output
    assert Worker.objects.get().state == Worker.State.STOPPED


def test_sigquit_gives_runs_back_at_once(pids: Path) -> None:
    execution = queue_a_run("stay_at_first", {"path": str(pids)})
    with running("--shutdown-timeout=600") as worker:
        wait_for_lines(pids, 1)
        worker.send_signal(signal.SIGQUIT)
        code, output = ended(worker)
    assert code == 0, output
    assert (fresh(execution).status, execution.losses) == ("queued", 0)
    assert not any(map(alive, map(int, written(pids))))


def has_fork_server(worker: int) -> bool:
    for child in psutil.Process(worker).children():
        with suppress(psutil.Error):  # others end meanwhile
            if "fork_server" in " ".join(child.cmdline()):
                return True
    return False


@signals("SIGINT")
def test_a_signal_while_it_starts_claims_nothing(pids: Path, number: signal.Signals) -> None:
    execution = queue_a_run("write_pid", {"path": str(pids)})
    with started("runscheduler", "--no-sync", TEST_OPTIONS=options()) as worker:
        # From when its handlers stand until its fork server has loaded.
        wait_until(lambda: has_fork_server(worker.pid), within=LONG, pause=0.01)
        worker.send_signal(number)
        code, output = ended(worker)
    assert code == 0, output
    assert (fresh(execution).status, execution.attempt) == ("queued", 0)


@pytest.mark.long
def test_nohup_keeps_a_worker_from_hanging_up() -> None:
    command = ["nohup", sys.executable, "manage.py", "runscheduler", "--no-sync"]
    environment = environment_of(TEST_OPTIONS=options())
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as worker:
        try:
            wait_until(Worker.objects.filter(state="running").exists, within=LONG)
            worker.send_signal(signal.SIGHUP)
            wait_for(queue_a_run("answer"), "success")
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LONG) == 0
        finally:
            worker.kill()


@signals("SIGTERM")
def test_signals_end_a_manual_run_as_cancelled(pids: Path, number: signal.Signals) -> None:
    task = make_task_of("clean_up", payload={"path": str(pids)})
    with started("runtask", task.name) as command:
        wait_for_lines(pids, 1)
        command.send_signal(number)
        code, output = ended(command)
    execution = Execution.objects.get()
    assert (code, execution.status) == (1, "cancelled"), output
    keyboard = number == signal.SIGINT
    expected = "Interrupted from the keyboard." if keyboard else f"Stopped by {number.name}."
    assert (execution.reason, execution.error) == (expected, "")
    assert expected in output
    assert written(pids)[1:] == ["cleaned up"]
    assert not Worker.objects.exists()


def test_further_signals_interrupt_a_run_that_goes_on(pids: Path) -> None:
    task = make_task_of("swallow", payload={"path": str(pids)})
    with started("runtask", task.name) as command:
        for caught in range(1, 4):
            wait_for_lines(pids, 2 * caught - 1)
            command.send_signal(signal.SIGINT)
            wait_for_lines(pids, 2 * caught)
    assert written(pids)[1:6:2] == ["caught"] * 3


def test_repeated_signals_lose_no_end(pids: Path) -> None:
    task = make_task_of("clean_up", payload={"path": str(pids)})
    with started("runtask", task.name) as command:
        wait_for_lines(pids, 1)
        while command.poll() is None:
            command.send_signal(signal.SIGTERM)
            time.sleep(0.002)
        code, output = ended(command)
    assert (code, Execution.objects.get().status) == (1, "cancelled"), output
