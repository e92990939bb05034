"""Runs at their timeout and at their memory limit: asked first, then ended; neighbours go on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from scheduled_tasks.executors.process.memory import MEGABYTE, usage_of
from scheduled_tasks.runtime.messages import ExecutorNote
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import LONG_GRACE, Hand, pids_in
from tests.support.processes import alive

GRACE = 0.6


@pytest.mark.parametrize("handler", ["clean_up", "wait_async"])
def test_a_handler_at_its_timeout_cleans_up(hand: Hand, tmp_path: Path, handler: str) -> None:
    path = tmp_path / "said"
    number = hand.start(handler, timeout=0.5, path=str(path))
    outcome = hand.outcome_of(number)
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")
    assert outcome.error == "Timed out after 0.5 s."
    assert path.read_text().split("\n")[1:] == ["cleaned up", ""]
    assert f"in {handler}" in outcome.traceback
    assert 450 < outcome.duration_ms < 5000
    assert hand.said[number] == [ExecutorNote(text="Timed out after 0.5 s. Still running.")]


def test_a_handler_ending_before_its_timeout_is_undisturbed(hand: Hand) -> None:
    numbers = [hand.start("answer", timeout=0.2, value=1), hand.start("spin", seconds=0.6)]
    for number in numbers:
        assert hand.outcome_of(number).status == "success"
        assert hand.said[number] == []


def test_a_run_returning_after_timeout_keeps_its_result(hand: Hand) -> None:
    outcome = hand.run("look_and_return", timeout=0.3)
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")
    assert outcome.error == "Timed out after 0.3 s."
    assert outcome.result["done"] > 1
    assert outcome.traceback == ""


def test_a_busy_loop_checking_cancelled_is_interrupted(hand: Hand) -> None:
    outcome = hand.run("spin", timeout=0.3, seconds=600)
    assert outcome.error_category == "timeout"
    assert "in spin" in outcome.traceback


def test_a_timed_out_handler_swallowing_exceptions_is_killed(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=LONG_GRACE)
    path, release = tmp_path / "said", tmp_path / "release"
    neighbour = hand.start("wait_for", path=str(tmp_path / "pid"), release=str(release))
    hand.pids(tmp_path / "pid")
    outcome = hand.run("swallow", timeout=0.3, path=str(path))
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")
    assert outcome.error == "Timed out after 0.3 s and did not stop within 2 s; killed."
    assert "in swallow" in outcome.traceback
    assert path.read_text().split().count("caught") == 2, "asked twice, the second time as a group"
    assert not any(alive(pid) for pid in pids_in(path))
    assert outcome.duration_ms >= 2200
    release.touch()
    assert hand.outcome_of(neighbour).result == "released"


def test_what_ignores_sigterm_is_killed_after_the_grace(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=GRACE)
    outcome = hand.run("ignore_terms", timeout=0.3, path=str(tmp_path / "said"))
    assert outcome.error == ("Timed out after 0.3 s and did not stop within 0.6 s; killed.")
    assert not any(alive(pid) for pid in pids_in(tmp_path / "said"))


def test_a_stopped_process_is_killed_after_the_grace(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=GRACE)
    number = hand.start("write_pid", timeout=0.5, path=str(tmp_path / "pid"))
    os.kill(hand.pids(tmp_path / "pid")[0], signal.SIGSTOP)
    assert hand.outcome_of(number).error_category == "timeout"


def test_a_handler_exiting_when_asked_was_not_killed(hand: Hand) -> None:
    outcome = hand.run("exit_when_asked", timeout=0.3, code=5)
    assert outcome.error_category == "timeout"
    assert outcome.error == (
        "Timed out after 0.3 s. Process exited with code 5 before the run ended."
    )


@pytest.mark.parametrize("handler", ["leave_checkpoint", "leave_checkpoint_async"])
def test_a_timeout_interrupts_the_wait_for_an_answer(
    hand: Hand, tmp_path: Path, handler: str
) -> None:
    path = tmp_path / "said"
    number = hand.start(handler, timeout=0.5, path=str(path))
    # A worker whose database is away answers nothing.
    hand.wait_uncollected(hand.executor._endings)
    outcome = hand.outcome_of(number)
    assert outcome.error == "Timed out after 0.5 s."
    assert path.read_text().split() == ["asked", "TimeLimitExceeded"]
    assert hand.run("answer", value=1).result == 1


def test_a_memory_hog_is_killed_recording_its_peak(hand: Hand, tmp_path: Path) -> None:
    release = tmp_path / "release"
    neighbour = hand.start("wait_for", limit=60, path=str(tmp_path / "pid"), release=str(release))
    outcome = hand.run("hog", limit=60, megabytes=5000)
    assert (outcome.status, outcome.error_category) == ("failed", "memory")
    peak = outcome.peak_memory_mb
    assert peak is not None
    assert 60 < peak < 2000
    assert outcome.error == f"Exceeded the 60 MB memory limit ({peak} MB)."
    release.touch()
    assert hand.outcome_of(neighbour).status == "success"


def test_memory_of_processes_that_a_run_starts_counts(hand: Hand) -> None:
    outcome = hand.run("hog_in_child", limit=80, megabytes=400)
    assert outcome.error_category == "memory"
    assert outcome.peak_memory_mb is not None
    assert outcome.peak_memory_mb > 80


def test_memory_that_forked_processes_share_counts_once(hand: Hand) -> None:
    outcome = hand.run("share_memory", limit=160, megabytes=80, children=4, seconds=1)
    assert outcome.status == "success", outcome.error
    assert outcome.peak_memory_mb is not None
    assert 80 <= outcome.peak_memory_mb < 160


def test_shared_memory_beyond_the_limit_counts_too(hand: Hand) -> None:
    outcome = hand.run("share_mapping", limit=60, megabytes=400, timeout=30)
    assert outcome.error_category == "memory"


def test_memory_left_by_neighbours_is_not_charged(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.support.large_settings")
    hand = take_in_hand(12)
    go, release = tmp_path / "go", tmp_path / "release"
    neighbours = [
        hand.start("wait_for", path=str(tmp_path / "pids"), release=str(go)) for _ in range(11)
    ]
    hand.pids(tmp_path / "pids", 11)
    number = hand.start("wait_for", limit=15, path=str(tmp_path / "pid"), release=str(release))
    [pid] = hand.pids(tmp_path / "pid")
    before = usage_of([pid])
    go.touch()
    for neighbour in neighbours:
        hand.outcome_of(neighbour)
    hand.wait(lambda: usage_of([pid]).shared - before.shared > 20 * MEGABYTE)
    hand.run("spin", seconds=0.5)
    release.touch()
    outcome = hand.outcome_of(number)
    assert outcome.status == "success", outcome.error
    assert outcome.peak_memory_mb is not None
    assert outcome.peak_memory_mb < 15


def test_the_peak_is_recorded_without_a_limit(hand: Hand) -> None:
    peak = hand.run("hog", megabytes=90, seconds=0).peak_memory_mb
    assert peak is not None
    assert 90 <= peak < 120
    small = hand.run("answer").peak_memory_mb
    assert small is not None
    assert small < 20


def test_a_sigterm_from_outside_changes_nothing(hand: Hand, tmp_path: Path) -> None:
    release = tmp_path / "release"
    number = hand.start("wait_for", path=str(tmp_path / "pid"), release=str(release))
    [pid] = hand.pids(tmp_path / "pid")
    os.killpg(pid, signal.SIGTERM)
    os.kill(hand.server.pid, signal.SIGTERM)
    for spare in hand.spares():
        os.kill(spare, signal.SIGTERM)
    assert hand.run("answer", value=1).result == 1
    release.touch()
    assert hand.outcome_of(number).result == "released"


def test_processes_of_multiprocessing_can_be_terminated(hand: Hand) -> None:
    result = hand.run("terminate_processes", count=50, timeout=50).result
    assert result == [-signal.SIGTERM] * 50


def test_a_process_pool_in_a_handler_works(hand: Hand) -> None:
    assert hand.run("use_pool", timeout=30).result == [1, 2, 3]


@pytest.mark.parametrize("how", ["timeout", "kill"])
def test_a_child_process_ends_with_its_waiting_handler(
    hand: Hand, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "pid"
    number = hand.start("wait_for_child", path=str(path), timeout=0.5 if how == "timeout" else 60)
    [pid] = hand.pids(path)
    if how == "kill":
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    assert hand.outcome_of(number).status == "failed"
    assert not alive(pid)
