"""What a run starts ends with it, however far it went away."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from scheduled_tasks.executors.process import executor as process
from scheduled_tasks.executors.process import operating_system
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import LONG_GRACE, Hand, pids_in
from tests.support.processes import alive


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pids"
    path.touch()
    return path


def test_descendants_of_a_successful_run_end_with_it(hand: Hand, path: Path) -> None:
    assert hand.run("leave_descendants", path=str(path)).status == "success"
    assert len(pids_in(path)) == 2
    assert not any(alive(pid) for pid in pids_in(path))


def test_a_daemon_without_environment_ends_with_its_run(hand: Hand, path: Path) -> None:
    assert hand.run("leave_daemon", path=str(path)).status == "success"
    [pid] = pids_in(path)
    assert not alive(pid)


def test_descendants_of_a_timed_out_run_end(hand: Hand, path: Path) -> None:
    number = hand.start("leave_descendants", path=str(path), stay=True, timeout=1)
    pids = hand.pids(path, 2)
    assert all(alive(pid) for pid in pids)
    assert len({os.getsid(pid) for pid in pids}) == 2, "one is in a session of its own"
    assert hand.outcome_of(number).error_category == "timeout"
    assert not any(alive(pid) for pid in pids)


def test_descendants_of_a_killed_run_end_with_it(hand: Hand, path: Path) -> None:
    number = hand.start("leave_descendants", path=str(path), stay=True)
    pids = hand.pids(path, 2)
    child = next(pid for pid in pids if os.getsid(pid) == hand.server.pid)
    psutil.Process(child).parent().kill()
    assert hand.outcome_of(number).error_category == "crash"
    assert not any(alive(pid) for pid in pids)


def test_closing_the_executor_ends_runs_and_their_descendants(hand: Hand, path: Path) -> None:
    for _ in range(2):
        hand.start("leave_descendants", path=str(path), stay=True)
    pids = hand.pids(path, 4)
    family = hand.server.children(recursive=True)
    hand.executor.close()
    assert not any(alive(pid) for pid in pids)
    assert not any(process.is_running() for process in family)


def test_abandoned_runs_end_with_their_descendants(hand: Hand, path: Path) -> None:
    number = hand.start("leave_descendants", path=str(path), stay=True)
    pids = hand.pids(path, 2)
    hand.executor.abandon()
    loss = hand.loss_of(number)
    assert (loss.charged, loss.reason) == (False, "The worker was stopped before the run finished.")
    assert not any(alive(pid) for pid in pids)
    assert hand.run("answer", value=1).result == 1


def test_what_waits_or_swallows_is_abandoned_too(
    hand: Hand, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOPPING_GRACE_SECONDS", LONG_GRACE)
    runs = [hand.start("swallow", path=str(path)), hand.start("clean_up", path=str(path))]
    hand.pids(path, 2)
    hand.executor.abandon()
    assert not any(hand.loss_of(number).charged for number in runs)
    assert not any(alive(pid) for pid in pids_in(path))
    said = path.read_text()
    assert said.count("caught") == 2
    assert said.count("cleaned up") == 1


def test_a_fork_bomb_is_over_with_its_run(hand: Hand, path: Path) -> None:
    number = hand.start("bomb", path=str(path), count=50)
    pids = hand.pids(path, 50)
    neighbour = hand.start("spin", seconds=0.3)
    assert hand.outcome_of(neighbour).status == "success"
    assert sum(alive(pid) for pid in pids) == 50
    assert sum(os.getsid(pid) == pid for pid in pids) == 25
    psutil.Process(pids[0]).parent().kill()
    assert hand.outcome_of(number).error_category == "crash"
    assert not any(alive(pid) for pid in pids)
    assert hand.run("answer", value=1).result == 1


def test_a_process_is_reused_as_often_as_set(
    take_in_hand: TakeInHand,
) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=3)
    pids = [hand.run("about_process").result["pid"] for _ in range(30)]
    assert max(pids.count(pid) for pid in pids) == 3
    assert len(set(pids)) <= 12
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=1)
    assert len({hand.run("about_process").result["pid"] for _ in range(5)}) == 5


def test_a_process_is_reused_after_failure_not_timeout(
    take_in_hand: TakeInHand, path: Path
) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=3)
    begun = time.monotonic()
    assert hand.run("clean_up", path=str(path), timeout=0.3).error_category == "timeout"
    assert time.monotonic() - begun < 8, "it has not waited for the grace of ten seconds"
    [timed_out] = pids_in(path)
    assert not alive(timed_out)
    waiting = operating_system.children_of(hand.server.pid)
    assert hand.run("fail").status == "failed"
    assert {*waiting} <= {*operating_system.children_of(hand.server.pid)}


@pytest.mark.parametrize("handler", ["leave_descendants", "leave_daemon"])
def test_descendants_end_with_runs_in_reused_processes(
    take_in_hand: TakeInHand, path: Path, handler: str
) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=3)
    for _ in range(3):
        path.write_text("")
        assert hand.run(handler, path=str(path)).status == "success"
        assert pids_in(path)
        assert not any(alive(pid) for pid in pids_in(path))
        assert hand.run("answer", value=1).result == 1


def test_a_reused_process_measures_each_runs_own_peak(
    take_in_hand: TakeInHand,
) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=4)
    peaks = [
        hand.run("hog", megabytes=megabytes, seconds=0).peak_memory_mb
        for megabytes in (100, 1, 60, 1)
    ]
    assert [peak is not None and peak for peak in peaks] == peaks
    assert 100 <= (peaks[0] or 0) < 130
    assert (peaks[1] or 0) < 20
    assert 55 <= (peaks[2] or 0) < 90
    assert (peaks[3] or 0) < 20


def test_a_signal_to_an_ended_runs_group_fails(hand: Hand) -> None:
    pid = hand.run("about_process").result["pid"]
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
