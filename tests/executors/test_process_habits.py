"""Handlers that change their own process: the end on record is true, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduled_tasks.runtime.runs import Outcome
from tests.executors.conftest import TakeInHand
from tests.executors.in_hand import is_cancelled
from tests.executors.processes_in_hand import LONG_GRACE, Hand
from tests.jobs.habits import HABITS
from tests.support.processes import alive


@pytest.fixture
def hand(take_in_hand: TakeInHand) -> Hand:
    return take_in_hand(4, KILL_GRACE=LONG_GRACE)


def test_a_handler_of_sigterm_undoes_no_timeout(hand: Hand) -> None:
    outcome = hand.run("loop_until_terminated", timeout=0.5)
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")
    assert (outcome.error, outcome.result) == ("Timed out after 0.5 s.", "stopped")
    outcome = hand.run("loop_until_terminated", timeout=0.5, raises=True)
    assert (outcome.status, outcome.error_category) == ("failed", "timeout")
    assert "ValueError: not in the mood" in outcome.traceback
    assert outcome.retryable


def test_a_handler_of_sigterm_ends_when_cancelled(hand: Hand) -> None:
    numbers = [hand.start("loop_until_terminated", raises=raises) for raises in (False, True)]
    hand.wait(lambda: all(hand.said[number] for number in numbers))
    for number in numbers:
        hand.cancel(number)
    returned, raised = map(hand.outcome_of, numbers)
    assert (returned.status, returned.result) == ("success", "stopped")
    assert is_cancelled(raised, error="ValueError: not in the mood")


def test_the_context_knows_of_a_stop_without_signals(hand: Hand) -> None:
    outcome = hand.run("loop_until_cancelled", timeout=0.5)
    assert (outcome.error, outcome.result) == ("Timed out after 0.5 s.", "stopped")
    assert outcome.duration_ms < LONG_GRACE * 1000
    number = hand.start("loop_until_cancelled")
    hand.wait(lambda: hand.said[number])
    hand.cancel(number)
    assert hand.outcome_of(number).result == "stopped"


def test_a_run_ending_itself_when_stopped_is_returned(hand: Hand) -> None:
    number = hand.start("loop_until_terminated", raises=True)
    hand.wait(lambda: hand.said[number])
    hand.executor.abandon()
    assert not hand.loss_of(number).charged


def test_a_handler_may_change_its_process_and_succeed(hand: Hand) -> None:
    server = hand.server
    numbers = {habit: hand.start("do_and_return", habit=habit) for habit in HABITS}
    outcomes = {habit: hand.outcome_of(number) for habit, number in numbers.items()}
    ends = {habit: (end.status, end.error) for habit, end in outcomes.items()}
    assert ends == dict.fromkeys(HABITS, ("success", ""))
    assert all("done" in str(outcome.result) for outcome in outcomes.values())
    assert all(0 <= outcome.duration_ms < 60_000 for outcome in outcomes.values())
    assert hand.server == server


@pytest.mark.parametrize("runs", [1, 3])
def test_whatever_a_handler_does_it_is_stopped(
    take_in_hand: TakeInHand, tmp_path: Path, runs: int
) -> None:
    hand = take_in_hand(len(HABITS), KILL_GRACE=0.4, MAX_EXECUTIONS_PER_CHILD=runs)
    numbers = {
        habit: hand.start("do_and_stay", habit=habit, path=str(tmp_path / "pids"), timeout=1)
        for habit in HABITS
    }
    ends = {habit: hand.outcome_of(number) for habit, number in numbers.items()}
    assert {habit for habit, end in ends.items() if end.error_category != "timeout"} == {
        "set an alarm"
    }
    assert ends["set an alarm"].error == "Process crashed (SIGALRM)."
    assert not any(map(alive, hand.pids(tmp_path / "pids", len(HABITS))))


def test_what_a_run_does_to_signals_ends_there(take_in_hand: TakeInHand) -> None:
    hand = take_in_hand(1, MAX_EXECUTIONS_PER_CHILD=100, KILL_GRACE=LONG_GRACE)
    for habit in ("block signals", "raise at SIGTERM", "set an alarm", "lower the recursion limit"):
        assert hand.run("do_and_return", habit=habit).result == "done"
        outcome: Outcome = hand.run("look_and_return", timeout=0.2)
        assert (outcome.error, outcome.result["done"] > 0) == ("Timed out after 0.2 s.", True)


def test_a_handler_that_closes_its_connection_says_so(hand: Hand) -> None:
    outcome = hand.run("close_descriptors")
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error.startswith("The run left its process unable to report how it ended")
    assert hand.run("answer", value=1).result == 1
