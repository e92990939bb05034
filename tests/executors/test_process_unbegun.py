"""Children that never begin the run that they were given: others do, and not without end."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from scheduled_tasks.executors.process import executor as process
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand
from tests.support.processes import LONG, wait_until

TRIED = "The run did not begin in 3 tries."


@pytest.fixture
def take_with(take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hand]:
    """Return a maker of executors whose children get a signal when they are forked."""

    def take(number: signal.Signals, **options: Any) -> Hand:
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.executors.settings_on_fork")
        monkeypatch.setenv("SIGNAL_ON_FORK", number.name)
        return take_in_hand(1, **options)

    return take


def test_a_run_whose_children_are_killed_unbegun_fails(
    take_with: Callable[..., Hand],
) -> None:
    hand = take_with(signal.SIGKILL)
    for _ in range(2):
        outcome = hand.run("answer")
        assert (outcome.status, outcome.error_category) == ("failed", "crash")
        assert outcome.error == f"{TRIED} Process was killed (SIGKILL)."


def test_a_run_whose_children_hang_unbegun_fails(
    take_with: Callable[..., Hand], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_SECONDS", 0.2)
    hand = take_with(signal.SIGSTOP)
    outcome = hand.run("answer")
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error == f"{TRIED} Process was killed after 0.2 s."


def test_a_run_moves_on_from_a_stopped_child(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_SECONDS", 3)
    hand = take_in_hand(1)
    hand.wait(hand.spares)
    [spare] = hand.spares()
    psutil.Process(spare).suspend()
    assert hand.run("answer", value=1).result == 1
    assert not psutil.pid_exists(spare)


@pytest.mark.long
def test_a_run_begun_before_the_server_reads_counts(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_SECONDS", 3)
    hand = take_in_hand(2)
    talk = hand.start("log_many", count=200_000, width=1_000)
    wait_until(lambda: hand.executor.backlogged, within=LONG)
    time.sleep(0.5)  # what the worker does not read fills the way to it
    begun = tmp_path / "begun"
    number = hand.start("write_pid", path=str(begun))
    wait_until(begun.exists, within=LONG)
    time.sleep(3)
    assert psutil.pid_exists(int(begun.read_text()))
    for each in (talk, number):
        hand.cancel(each)
    assert hand.outcome_of(number).status == "cancelled"


def test_the_start_timeout_does_not_limit_the_run(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_SECONDS", 2)
    hand = take_in_hand(1)
    assert hand.run("nap", seconds=2.5).status == "success"


@contextmanager
def no_more_files(hand: Hand) -> Iterator[None]:
    """Let the fork server open no more files meanwhile."""
    limits = resource.prlimit(hand.server_pid, resource.RLIMIT_NOFILE)
    resource.prlimit(hand.server_pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(hand.server_pid, resource.RLIMIT_NOFILE, limits)


def test_a_run_without_a_process_fails_with_reason(
    take_in_hand: TakeInHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "START_TIMEOUT_SECONDS", 1)
    hand = take_in_hand(1)
    hand.wait(hand.spares)
    with no_more_files(hand):
        for spare in hand.spares():
            psutil.Process(spare).kill()
        hand.wait(lambda: not hand.spares())
        outcome = hand.run("answer")
    assert (outcome.status, outcome.error_category) == ("failed", "crash")
    assert outcome.error == (
        "The run did not begin: no process could be started for it within 1 s "
        "([Errno 24] Too many open files)."
    )
    assert hand.run("answer", value=1).result == 1
