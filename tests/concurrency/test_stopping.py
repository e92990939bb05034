"""How a worker is stopped: what ends in time succeeds, the rest is killed and given back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from scheduled_tasks.models import Execution, Task, Worker
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines
from tests.support.processes import (
    LONG,
    ROOT,
    alive,
    ended,
    environment_of,
    options,
    running,
    schedulers,
    wait_until,
    written,
)
from tests.support.tracing import untraced

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

STOPPED = "The worker was stopped before the run finished."
#: Becomes a command whose terminal is the one that it was started on, as in a shell.
IN_FOREGROUND = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
CTRL_C = b"\x03"


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Return the file into which handlers write the numbers of their processes."""
    return tmp_path / "pids"


@pytest.fixture
def held(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which the handler jobs.hold holds until it is released."""
    return {"MARK_FILE": str(tmp_path / "marks"), "RELEASE_FILE": str(tmp_path / "release")}


def wait_for_stopping() -> None:
    stopping = Worker.objects.filter(state=Worker.State.STOPPING)
    wait_until(stopping.exists, within=LONG)


def test_runs_ending_in_time_succeed_without_new_claims(held: dict[str, str]) -> None:
    first = queue_a_run("hold", name="first")
    with running("--concurrency=2", **held) as worker:
        wait_for_lines(held["MARK_FILE"], 1)
        worker.send_signal(signal.SIGTERM)
        wait_for_stopping()
        second = queue_a_run("hold", name="second")
        Path(held["RELEASE_FILE"]).touch()
        code, output = ended(worker)
    assert code == 0, output
    assert (fresh(first).status, first.result) == ("success", "released")
    assert fresh(second).status == "queued"
    assert Worker.objects.get().state == Worker.State.STOPPED


def check_given_back(code: int, output: str, again: Execution, once: Execution) -> None:
    assert code == 0, output
    assert "2 executions unfinished" in output
    assert (fresh(again).status, again.attempt, again.losses) == ("queued", 1, 0)
    assert (again.finished_at, again.error, again.reason) == (None, STOPPED, "")
    assert (fresh(once).status, once.error_category, once.error) == ("failed", "lost", STOPPED)
    assert Worker.objects.get().state == Worker.State.STOPPED


@pytest.mark.parametrize("timeout", [pytest.param("0.5", marks=pytest.mark.long), "0"])
def test_runs_not_ending_in_time_are_given_back(pids: Path, timeout: str) -> None:
    again = queue_a_run("stay_at_first", {"path": str(pids)})
    once = queue_a_run("write_pid", {"path": str(pids)}, on_lost=Task.OnLost.FAIL)
    with running(f"--shutdown-timeout={timeout}") as worker:
        wait_for_lines(pids, 2)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: fresh(again).status == "queued", within=LONG)
        wait_until(lambda: fresh(once).status == "failed", within=LONG)
        check_given_back(*ended(worker), again, once)
    assert not any(map(alive, map(int, written(pids))))
    with schedulers(1, "--no-sync", TEST_OPTIONS=options()):
        wait_until(lambda: fresh(again).finished, within=LONG)
    assert (again.status, again.result, again.losses) == ("success", "attempt 2", 0)
    assert (fresh(once).status, once.attempt) == ("failed", 1)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
def test_a_second_signal_does_so_at_once(pids: Path, number: signal.Signals) -> None:
    again = queue_a_run("stay_at_first", {"path": str(pids)})
    once = queue_a_run("write_pid", {"path": str(pids)}, on_lost=Task.OnLost.FAIL)
    with running("--shutdown-timeout=600") as worker:
        wait_for_lines(pids, 2)
        worker.send_signal(number)
        wait_for_stopping()
        assert Execution.objects.running().count() == 2
        worker.send_signal(number)
        check_given_back(*ended(worker), again, once)
    assert not any(map(alive, map(int, written(pids))))


def test_a_run_that_is_stopped_cleans_up(pids: Path) -> None:
    in_python = queue_a_run("clean_up", {"path": str(pids)})
    in_async = queue_a_run("wait_async", {"path": str(pids)})
    with running("--shutdown-timeout=0") as worker:
        wait_for_lines(pids, 2)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert written(pids)[2:] == ["cleaned up", "cleaned up"]
    assert {fresh(in_python).status, fresh(in_async).status} == {"queued"}


def test_a_stopped_run_that_returns_is_a_success(pids: Path) -> None:
    execution = queue_a_run("end_when_asked", {"path": str(pids)}, on_lost=Task.OnLost.FAIL)
    with running("--shutdown-timeout=0") as worker:
        wait_for_lines(pids, 1)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert (fresh(execution).status, execution.result) == ("success", "ended, cancelled=True")


def test_a_stopped_run_passes_its_checkpoint_on(pids: Path) -> None:
    execution = queue_a_run("go_on_from_checkpoint", {"path": str(pids)})
    with running("--shutdown-timeout=0") as worker:
        wait_for_lines(pids, 1)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    with schedulers(1, "--no-sync", TEST_OPTIONS=options()):
        wait_until(lambda: fresh(execution).finished, within=LONG)
    assert (execution.status, execution.attempt) == ("success", 2)
    assert execution.result == {"left by": 1}


@pytest.mark.parametrize(
    "handler", ["ignore_terms", pytest.param("swallow", marks=pytest.mark.long)]
)
def test_a_stubborn_run_is_dead_when_given_back(pids: Path, handler: str) -> None:
    execution = queue_a_run(handler, {"path": str(pids)})
    with running("--shutdown-timeout=0") as worker:
        wait_for_lines(pids, 1)
        worker.send_signal(signal.SIGTERM)
        [pid] = map(int, written(pids)[:1])
        # Without a pause, because the worker's own end would end it too.
        wait_until(lambda: fresh(execution).status == "queued", within=LONG, pause=0)
        assert not alive(pid)
        code, output = ended(worker)
    assert code == 0, output
    assert (fresh(execution).status, execution.losses) == ("queued", 0)


@pytest.mark.long
def test_descendants_of_a_stopped_run_are_dead_too(pids: Path) -> None:
    queue_a_run("leave_descendants", {"path": str(pids), "stay": True})
    with running("--shutdown-timeout=0") as worker:
        wait_for_lines(pids, 2)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 0, output
    assert not any(map(alive, map(int, written(pids))))


@untraced
def test_threads_that_do_not_end_are_left_behind(pids: Path) -> None:
    execution = queue_a_run("write_pid", {"path": str(pids)}, executor="thread")
    with running("--shutdown-timeout=0") as worker:
        wait_for_lines(pids, 1)
        worker.send_signal(signal.SIGTERM)
        code, output = ended(worker)
    assert code == 1, output
    assert written(pids) == [str(worker.pid)]
    assert (fresh(execution).status, execution.losses) == ("queued", 0)
    assert Worker.objects.get().state == Worker.State.STOPPED


def to_every_process(worker: subprocess.Popen[str]) -> None:
    """Do as systemd does with a service: its KillMode is control-group."""
    main = psutil.Process(worker.pid)
    for process in [main, *main.children(recursive=True)]:
        process.send_signal(signal.SIGTERM)


def to_its_group(worker: subprocess.Popen[str]) -> None:
    os.killpg(worker.pid, signal.SIGTERM)


@pytest.mark.parametrize(
    "terminate", [to_every_process, pytest.param(to_its_group, marks=pytest.mark.long)]
)
def test_signalling_all_processes_lets_runs_end_in_time(
    held: dict[str, str], terminate: Callable[[subprocess.Popen[str]], None]
) -> None:
    execution = queue_a_run("hold")
    with running(**held) as worker:
        wait_for_lines(held["MARK_FILE"], 1)
        terminate(worker)
        wait_for_stopping()
        Path(held["RELEASE_FILE"]).touch()
        code, output = ended(worker)
    assert code == 0, output
    assert (fresh(execution).status, execution.attempt) == ("success", 1)


@contextmanager
def in_a_terminal(*arguments: str, **environment: str) -> Iterator[tuple[Any, int]]:
    """Run a scheduler in the foreground of a terminal; return it, and the terminal's keyboard."""
    keyboard, terminal = pty.openpty()
    command = ["manage.py", "runscheduler", "--no-sync", *arguments]
    process = subprocess.Popen(
        [sys.executable, "-c", IN_FOREGROUND, *command],
        cwd=ROOT,
        env=environment_of(TEST_OPTIONS=options(), **environment),
        stdin=terminal,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        yield process, keyboard
    finally:
        process.kill()
        process.wait()
        os.close(keyboard)


def test_ctrl_c_in_a_terminal_lets_runs_end(held: dict[str, str]) -> None:
    execution = queue_a_run("hold")
    with in_a_terminal(**held) as (worker, keyboard):
        wait_for_lines(held["MARK_FILE"], 1)
        os.write(keyboard, CTRL_C)
        wait_for_stopping()
        Path(held["RELEASE_FILE"]).touch()
        assert worker.wait(LONG) == 0
    assert (fresh(execution).status, execution.attempt) == ("success", 1)


def test_ctrl_c_pressed_twice_gives_back_at_once(pids: Path) -> None:
    execution = queue_a_run("write_pid", {"path": str(pids)})
    with in_a_terminal("--shutdown-timeout=600") as (worker, keyboard):
        wait_for_lines(pids, 1)
        os.write(keyboard, CTRL_C)
        wait_for_stopping()
        os.write(keyboard, CTRL_C)
        assert worker.wait(LONG) == 0
    assert not alive(int(written(pids)[0]))
    assert (fresh(execution).status, execution.losses) == ("queued", 0)
