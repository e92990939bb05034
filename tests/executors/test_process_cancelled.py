"""Runs that are cancelled: asked first, then ended; only the one that is meant."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from scheduled_tasks.runtime.clock import boottime
from tests.executors.conftest import TakeInHand
from tests.executors.in_hand import is_cancelled
from tests.executors.processes_in_hand import LONG_GRACE, Hand, pids_in
from tests.support.processes import LONG, alive, wait_until

GRACE = 1.0


def begun(hand: Hand, handler: str, path: Path, **options: Any) -> int:
    """Start a run that writes down the number of its process, and wait until it has."""
    number = hand.start(handler, path=str(path), **options)
    hand.pids(path)
    return number


@pytest.mark.parametrize("handler", ["clean_up", "wait_async"])
def test_a_waiting_handler_is_interrupted_and_cleans_up(
    hand: Hand, tmp_path: Path, handler: str
) -> None:
    path, release = tmp_path / "said", tmp_path / "release"
    neighbour = hand.start("wait_for", path=str(tmp_path / "pid"), release=str(release))
    number = begun(hand, handler, path)
    hand.cancel(number)
    outcome = hand.outcome_of(number)
    assert is_cancelled(outcome)
    assert path.read_text().split("\n")[1:] == ["cleaned up", ""]
    assert f"in {handler}" in outcome.traceback
    assert outcome.peak_memory_mb is not None
    assert not any(alive(pid) for pid in pids_in(path))
    release.touch()
    assert hand.outcome_of(neighbour).result == "released"
    assert hand.said == {}


def test_a_handler_returning_when_asked_has_finished(hand: Hand, tmp_path: Path) -> None:
    number = begun(hand, "end_when_asked", tmp_path / "pid")
    hand.cancel(number)
    outcome = hand.outcome_of(number)
    assert (outcome.status, outcome.reason) == ("success", "")
    assert outcome.result == "ended, cancelled=True"


def test_a_busy_loop_is_interrupted(hand: Hand) -> None:
    number = hand.start("spin", seconds=600)
    hand.wait(lambda: number in hand.executor._begun)
    hand.cancel(number)
    assert is_cancelled(hand.outcome_of(number))


def test_a_handler_swallowing_exceptions_is_killed_after_grace(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=LONG_GRACE)
    path = tmp_path / "said"
    number = begun(hand, "swallow", path)
    hand.cancel(number)
    outcome = hand.outcome_of(number)
    assert is_cancelled(outcome)
    assert "in swallow" in outcome.traceback
    assert path.read_text().split().count("caught") == 2, "asked twice, the second time as a group"
    # By the clock of the worker, which may learn late that the run has begun.
    assert outcome.duration_ms >= LONG_GRACE * 900
    assert not any(alive(pid) for pid in pids_in(path))


def test_what_ignores_sigterm_is_killed_after_the_grace(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=GRACE)
    path = tmp_path / "pid"
    number = begun(hand, "ignore_terms", path)
    hand.cancel(number)
    assert is_cancelled(hand.outcome_of(number))
    assert not any(alive(pid) for pid in pids_in(path))


def test_what_cannot_react_is_killed_with_its_descendants(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=GRACE)
    path = tmp_path / "pids"
    path.touch()
    number = hand.start("leave_descendants", path=str(path), stay=True)
    pids = hand.pids(path, 2)
    runs = [child.pid for child in hand.server.children() if child.name() == f"run-{number}"]
    os.kill(runs[0], signal.SIGSTOP)
    hand.cancel(number)
    assert is_cancelled(hand.outcome_of(number))
    assert not any(alive(pid) for pid in [*runs, *pids])


def test_what_exits_when_it_is_asked_is_cancelled(hand: Hand) -> None:
    number = hand.start("exit_when_asked", code=5)
    hand.wait(lambda: number in hand.executor._begun)
    hand.cancel(number)
    assert is_cancelled(hand.outcome_of(number))


def test_it_interrupts_the_wait_for_the_workers_answer(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "said"
    number = hand.start("leave_checkpoint", path=str(path))
    hand.wait_uncollected(hand.executor._messages)
    hand.cancel(number)
    hand.wait_uncollected(hand.executor._endings)
    assert is_cancelled(hand.outcome_of(number))
    assert path.read_text().split() == ["asked", "RunCancelled"]


def test_asking_again_does_not_interrupt_the_cleaning_up(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "said"
    number = hand.start("say_much_and_clean_up", path=str(path))
    hand.wait(lambda: hand.said[number])
    hand.cancel(number)
    hand.wait(path.exists)
    for reason in ("Again.", "And again."):
        hand.cancel(number, reason=reason)
    assert is_cancelled(hand.outcome_of(number))
    hand.cancel(number)
    assert path.read_text().split("\n") == ["RunCancelled", "cleaned up", ""]
    assert hand.run("answer", value=1).result == 1


def test_cancelling_what_is_not_in_hand_changes_nothing(hand: Hand, tmp_path: Path) -> None:
    release = tmp_path / "release"
    number = hand.start("wait_for", path=str(tmp_path / "pid"), release=str(release))
    hand.pids(tmp_path / "pid")
    hand.cancel(number + 1)
    hand.cancel(number, attempt=2)
    assert hand.run("answer", value=1).status == "success", "and a later run is not meant"
    release.touch()
    assert hand.outcome_of(number).result == "released"


def test_an_unopened_executor_has_nothing_to_cancel(settings: Any) -> None:
    hand = Hand(1)
    hand.cancel(1)
    hand.executor.close()


# Runs that have not begun.


def test_a_run_waiting_in_the_server_ends_immediately(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    hand.server.suspend()
    number, other = hand.start("write_pid", path=str(path)), hand.start("answer", value=1)
    hand.cancel(number)
    hand.wait(hand.everything_is_sent)
    hand.server.resume()
    outcome = hand.outcome_of(number)
    assert is_cancelled(outcome)
    assert outcome.duration_ms == 0
    assert hand.outcome_of(other).result == 1
    assert not path.exists()


def test_a_run_cancelled_in_its_child_never_begins(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    hand.wait(lambda: len(hand.spares()) == 2)
    spares = hand.spares()
    for pid in spares:
        os.kill(pid, signal.SIGSTOP)
    number, other = hand.start("write_pid", path=str(path)), hand.start("answer", value=1)
    assert hand.run("answer", value=2).result == 2, "both have their run by now"
    hand.cancel(number)
    assert hand.run("answer", value=3).result == 3, "the server has done by now what stands above"
    for pid in spares:
        os.kill(pid, signal.SIGCONT)
    assert is_cancelled(hand.outcome_of(number))
    assert hand.outcome_of(other).result == 1
    assert not path.exists()


@pytest.mark.long
def test_a_run_in_a_starting_interpreter_is_cancelled(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.support.threaded_settings")
    hand = take_in_hand(2)
    path = tmp_path / "pid"
    numbers = [hand.start("write_pid", path=str(path)) for _ in range(2)]
    for number in numbers:
        hand.cancel(number)
        assert is_cancelled(hand.outcome_of(number))
    assert not path.exists()
    assert hand.run("answer", value=1).result == 1


def test_a_cancelled_runs_process_is_not_reused(take_in_hand: TakeInHand, tmp_path: Path) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=3)
    for handler in ("clean_up", "end_when_asked"):
        path = tmp_path / handler
        number = begun(hand, handler, path)
        hand.cancel(number)
        hand.outcome_of(number)
        assert hand.run("about_process").result["pid"] not in pids_in(path)


# What comes first is what it ends with.


def test_a_timed_out_run_is_not_asked_again(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "said"
    number = hand.start("say_much_and_clean_up", path=str(path), timeout=0.5)
    hand.wait(path.exists)
    hand.cancel(number)
    outcome = hand.outcome_of(number)
    assert (outcome.status, outcome.error_category, outcome.reason) == ("failed", "timeout", "")
    assert path.read_text().split("\n") == ["TimeLimitExceeded", "cleaned up", ""]


def test_what_is_cancelled_reaches_no_timeout(take_in_hand: TakeInHand, tmp_path: Path) -> None:
    hand = take_in_hand(1, KILL_GRACE=3)
    number = begun(hand, "swallow", tmp_path / "said", timeout=2)
    hand.cancel(number)
    assert is_cancelled(hand.outcome_of(number))
    assert hand.said == {}


def test_a_run_cancelled_while_beginning_reaches_no_timeout(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=GRACE)
    hand.wait(lambda: len(hand.spares()) == 2)
    spares = hand.spares()
    for pid in spares:
        os.kill(pid, signal.SIGSTOP)
    path = tmp_path / "said"
    number, other = hand.start("swallow", path=str(path), timeout=0.1), hand.start("answer")
    assert hand.run("answer", value=1).result == 1, "both have their run by now"
    hand.server.suspend()
    hand.cancel(number)
    for pid in spares:
        os.kill(pid, signal.SIGCONT)
    hand.pids(path)
    hand.server.resume()
    assert is_cancelled(hand.outcome_of(number))
    assert hand.outcome_of(other).status == "success"
    assert hand.said == {}


def test_stopping_the_worker_leaves_a_cancelled_run_cancelled(
    take_in_hand: TakeInHand, tmp_path: Path
) -> None:
    hand = take_in_hand(2, KILL_GRACE=600)
    path = tmp_path / "said"
    number = begun(hand, "swallow", path)
    hand.cancel(number)
    hand.wait(lambda: "caught" in path.read_text())
    hand.executor.abandon()
    hand.wait(lambda: number in hand.endings, within=LONG)
    assert is_cancelled(hand.outcome_of(number)), "long before the grace of ten minutes"


def test_an_abandoned_run_cancelled_afterwards_is_given_back(hand: Hand, tmp_path: Path) -> None:
    number = begun(hand, "swallow", tmp_path / "said")
    hand.executor.abandon()
    hand.cancel(number)
    assert hand.loss_of(number).reason == "The worker was stopped before the run finished."


def test_a_run_cancelled_after_its_lease_is_lost(hand: Hand, tmp_path: Path) -> None:
    number = begun(hand, "swallow", tmp_path / "pid")
    [pid] = hand.pids(tmp_path / "pid")
    hand.executor.extend_lease(boottime() - 1)
    wait_until(lambda: not alive(pid), within=LONG)
    hand.cancel(number)
    assert hand.loss_of(number).charged
