"""The fork server and its children: what they hold, what they have, and what they do not mind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection

from scheduled_tasks.executors.base import ExecutorBrokenError
from scheduled_tasks.executors.process.executor import MAX_SPARES, operating_system
from scheduled_tasks.executors.process.operating_system import STOP_SIGNALS
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand, pids_in
from tests.support.processes import LONG, alive, wait_until


def test_a_run_is_made_by_a_waiting_process(hand: Hand) -> None:
    hand.wait(lambda: len(hand.spares()) == 2)
    for _ in range(5):
        hand.wait(lambda: len(hand.spares()) == 2)
        spares = hand.spares()
        assert hand.run("about_process").result["pid"] in spares


def test_no_more_processes_wait_than_runs_fit(take_in_hand: TakeInHand) -> None:
    for concurrency, spares in ((1, 1), (3, 3), (50, MAX_SPARES)):
        hand = take_in_hand(concurrency)
        hand.wait(lambda hand=hand, spares=spares: len(hand.spares()) == spares)
        hand.run("answer")
        assert len(hand.spares()) <= spares


def test_a_killed_waiting_child_is_replaced(hand: Hand) -> None:
    hand.wait(lambda: len(hand.spares()) == 2)
    killed = hand.spares()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert hand.run("answer", value=1).result == 1
    hand.wait(lambda: len(hand.spares()) == 2)
    assert not {*killed} & {*hand.spares()}


def test_a_child_has_only_descriptors_of_its_own(take_in_hand: TakeInHand, tmp_path: Path) -> None:
    hand = take_in_hand(4)
    for _ in range(2):
        hand.start("wait_for", path=str(tmp_path / "pids"), release=str(tmp_path / "release"))
    hand.pids(tmp_path / "pids", 2)
    descriptors = hand.run("about_process").result["descriptors"]
    standard = [descriptors.pop(number) for number in ("0", "1", "2")]
    assert standard[0] == "/dev/null"
    assert {link.split(":")[0] for link in standard[1:]} == {"pipe"}
    places = [Path(f"/proc/{hand.server.pid}/fd/{number}") for number in (1, 2)]
    shown = sorted(str(place.readlink()) for place in places)
    own = sorted(link.split(":")[0] for link in descriptors.values() if link not in shown)
    assert own == ["/memfd", "pipe", "socket"], descriptors
    assert sorted(link for link in descriptors.values() if link in shown) == shown
    (tmp_path / "release").touch()
    hand.wait(lambda: len(hand.endings) == 3)


def test_a_child_is_set_apart(hand: Hand) -> None:
    about = hand.run("about_process").result
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert about["parent"] == hand.server.pid
    assert about["group"] == about["pid"]
    assert about["session"] == hand.server.pid != os.getsid(0)
    assert about["oom_score_adj"] == min(own + operating_system.MORE_LIKELY, 1000)
    assert about["threads"] == 1
    assert about["ignored_signals"] == [], "programs that a handler starts would ignore them"
    assert int(Path(f"/proc/{hand.server.pid}/oom_score_adj").read_text()) == own


def test_a_child_uses_its_workers_databases(
    hand: Hand, take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hand.run("about_process").result["database"] == str(connection.settings_dict["NAME"])
    monkeypatch.setitem(connection.settings_dict, "NAME", "/somewhere/else")
    about = take_in_hand(1).run("about_process").result
    assert (about["database"], about["open_databases"]) == ("/somewhere/else", 0)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=[pytest.mark.long] if number != signal.SIGTERM else [])
        for number in STOP_SIGNALS
    ],
)
def test_signals_to_server_and_run_change_nothing(
    hand: Hand, tmp_path: Path, number: signal.Signals
) -> None:
    server, release = hand.server, tmp_path / "release"
    run = hand.start("wait_for", path=str(tmp_path / "pid"), release=str(release))
    [pid] = hand.pids(tmp_path / "pid")
    os.killpg(server.pid, number)
    os.killpg(pid, number)
    assert hand.run("answer", value=1).result == 1
    release.touch()
    assert hand.outcome_of(run).result == "released"
    assert hand.server == server


def test_a_project_that_cannot_load_breaks_the_executor(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.no_such_settings")
    with pytest.raises(ExecutorBrokenError, match="could not load the project"):
        take_in_hand(2)
    assert "tests.no_such_settings" in capfd.readouterr().err


def test_a_server_killed_while_loading_is_restarted(hand: Hand) -> None:
    for _ in range(2):
        killed = hand.server_pid
        hand.server.kill()
        wait_until(lambda killed=killed: hand.server_pid != killed, within=LONG)
    assert hand.run("answer", value=1).result == 1
    hand.executor.check()


def test_a_server_that_cannot_restart_breaks_the_executor(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    hand.server.kill()
    wait_until(lambda: bool(hand.executor._problem), within=LONG)
    with pytest.raises(ExecutorBrokenError, match="/nowhere/python"):
        hand.executor.check()


@pytest.mark.long
def test_closing_while_the_server_is_replaced_leaves_none(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    for turn in range(3):
        hand = take_in_hand(1)
        number = hand.start("write_pid", path=str(tmp_path / str(turn)))
        hand.pids(tmp_path / str(turn))
        hand.server.kill()
        hand.loss_of(number)
        hand.executor.close()


def test_opening_twice_and_closing_twice_is_once(hand: Hand) -> None:
    server = hand.server
    hand.executor.open()
    assert hand.server == server
    hand.executor.close()
    hand.executor.close()
    assert not alive(server.pid)


def test_an_unopened_executor_is_closed_at_once(settings: Any) -> None:
    hand = Hand(1)
    hand.executor.check()
    assert hand.executor.free == 0
    hand.executor.close()


@pytest.mark.long
def test_no_descriptor_or_thread_outlives_an_executor(
    take_in_hand: TakeInHand,
) -> None:
    take_in_hand(2).executor.close()
    threads = threading.active_count()
    count = psutil.Process().num_fds()
    for _ in range(3):
        hand = take_in_hand(2)
        hand.replace_server()
        hand.run("answer")
        hand.executor.close()
    assert psutil.Process().num_fds() == count
    assert threading.active_count() == threads


@pytest.fixture
def threaded(take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hand]:
    """Return a maker of executors for a project that starts a thread while it is loaded."""

    def take(**options: Any) -> Hand:
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.support.threaded_settings")
        return take_in_hand(2, **options)

    return take


@pytest.mark.long
def test_memory_for_loading_is_not_the_runs(threaded: Callable[..., Hand]) -> None:
    outcome = threaded().run("answer", value=1, limit=15)
    assert (outcome.status, outcome.error) == ("success", "")
    assert outcome.peak_memory_mb < 15


@pytest.mark.long
def test_a_threaded_project_runs_in_fresh_interpreters(
    threaded: Callable[..., Hand], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    hand = threaded(KILL_GRACE=0.5)
    assert "loading the project started threads (agent)" in caplog.text
    ended = hand.run("about_process")
    assert (ended.status, ended.error) == ("success", "")
    about = ended.result
    assert about["threads"] == 2, "the thread is there in each child too"
    assert about["parent"] == hand.server.pid
    assert about["group"] == about["pid"]
    assert about["database"] == str(connection.settings_dict["NAME"])
    sockets = [link for link in about["descriptors"].values() if link.startswith("socket")]
    assert len(sockets) == 1, about["descriptors"]
    crash = hand.run("segfault")
    assert (crash.error_category, "in segfault" in crash.traceback) == ("crash", True)
    path = tmp_path / "said"
    assert hand.run("clean_up", timeout=0.3, path=str(path)).error_category == "timeout"
    assert "cleaned up" in path.read_text()
    path.write_text("")
    assert hand.run("swallow", timeout=0.3, path=str(path)).error_category == "timeout"
    path.write_text("")
    assert hand.run("leave_descendants", path=str(path)).status == "success"
    assert not any(alive(pid) for pid in pids_in(path))


def test_a_server_killed_there_takes_its_runs_along(
    threaded: Callable[..., Hand], tmp_path: Path
) -> None:
    hand = threaded()
    path = tmp_path / "pids"
    path.touch()
    number = hand.start("leave_descendants", path=str(path), stay=True)
    pids = hand.pids(path, 2)
    hand.server.kill()
    assert hand.loss_of(number).charged
    assert not any(alive(pid) for pid in pids)


def test_a_run_abandoned_before_it_began_is_lost(threaded: Callable[..., Hand]) -> None:
    hand = threaded()
    numbers = [hand.start("spin", seconds=30) for _ in range(2)]
    hand.executor.abandon()
    assert not any(hand.loss_of(number).charged for number in numbers)


def test_descriptors_do_not_leak_when_forking_fails(hand: Hand) -> None:
    hand.wait(lambda: len(hand.spares()) == 2)
    group = Path("/sys/fs/cgroup/pids") / f"scheduled-tasks-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(hand.server.pid))
        (group / "pids.max").write_text("1")
    except OSError as error:
        pytest.skip(f"it takes root and control groups of version 1 to bound processes: {error}")
    try:
        numbers = [hand.start("answer", value=1) for _ in range(4)]
        hand.wait(lambda: len(hand.endings) == 2)
        count = hand.server.num_fds()
        time.sleep(2.2)  # it tries again and again
        hand.wait(lambda: hand.server.num_fds() <= count, within=2)
        (group / "pids.max").write_text("max")
        assert [hand.outcome_of(number).result for number in numbers] == [1] * 4
    finally:
        hand.executor.close()
        wait_until(lambda: not (group / "cgroup.procs").read_text(), within=LONG)
        group.rmdir()
