"""Fork servers that hang: they are killed, their runs are lost, and others take their place."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from scheduled_tasks.executors.base import ExecutorBrokenError
from scheduled_tasks.executors.process.executor import SERVER_KILLED
from scheduled_tasks.executors.process.fork_server import liveness
from scheduled_tasks.executors.process.fork_server.client import ForkServerProcess
from scheduled_tasks.runtime.clock import boottime
from tests.executors.conftest import TakeInHand
from tests.executors.processes_in_hand import Hand
from tests.support.processes import LONG, alive, wait_until


def look_after(hand: Hand) -> None:
    """Do what a worker does now and then: renew the lease, and look after the executor."""
    hand.executor.extend_lease(boottime() + 600)
    hand.executor.check()


def test_a_frozen_server_is_killed_losing_its_runs(
    take_in_hand: TakeInHand, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hand = take_in_hand(2, LEASE=1, HEARTBEAT_INTERVAL=0.1)
    number = hand.start("write_pid", path=str(tmp_path / "pid"))
    [pid] = hand.pids(tmp_path / "pid")
    first = hand.server
    first.suspend()

    def lost() -> bool:
        look_after(hand)
        return number in hand.endings

    hand.wait(lost)
    loss = hand.loss_of(number)
    assert (loss.reason, loss.charged) == (SERVER_KILLED, True)
    assert not alive(first.pid)
    assert not alive(pid)
    assert "the fork server hangs and is killed: it has echoed none of" in caplog.text
    hand.wait(lambda: hand.executor.free == 2)
    assert hand.run("answer", value=1).result == 1


def test_a_server_that_answers_is_left_alone(take_in_hand: TakeInHand) -> None:
    hand = take_in_hand(2, LEASE=0.5, HEARTBEAT_INTERVAL=0.1)
    server, until = hand.server, boottime() + 2
    while boottime() < until:
        look_after(hand)
        hand.run("answer")
    assert hand.server == server


def hanging_interpreter(folder: Path) -> str:
    """Return a program that hangs, whatever it is to run."""
    path = folder / "python"
    path.write_text("#!/bin/sh\nexec sleep 600\n")
    path.chmod(0o700)
    return str(path)


def test_a_new_server_hanging_while_loading_is_replaced(
    hand: Hand,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = hand.server_pid
    with monkeypatch.context() as patched:
        patched.setattr("sys.executable", hanging_interpreter(tmp_path))
        os.kill(first, signal.SIGKILL)
        hand.wait(lambda: hand.server_pid != first)
    hanging = hand.server_pid
    hand.executor.check()
    assert hand.executor.free == 0
    with monkeypatch.context() as patched:
        patched.setattr(liveness, "LOAD_TIMEOUT_SECONDS", 0.2)

        def killed() -> bool:
            look_after(hand)
            return "it did not load within 0.2 s" in caplog.text

        hand.wait(killed)
    hand.wait(lambda: hand.executor.free == 2)
    assert not alive(hanging)
    assert hand.run("answer", value=1).result == 1


def test_servers_hanging_while_loading_break_the_executor(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.executable", hanging_interpreter(tmp_path))
    monkeypatch.setattr(liveness, "LOAD_TIMEOUT_SECONDS", 0.2)
    hand.server.kill()

    def broken() -> bool:
        try:
            look_after(hand)
        except ExecutorBrokenError as error:
            return "could not load the project" in str(error)
        return False

    wait_until(broken, within=LONG)


@pytest.fixture
def kept_dying(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return what is to be set before the leftovers of a dead server are looked for."""
    over, see_dead = threading.Event(), ForkServerProcess._ensure_dead

    def see_dead_later(server: ForkServerProcess) -> None:
        assert over.wait(LONG)
        see_dead(server)

    monkeypatch.setattr(ForkServerProcess, "_ensure_dead", see_dead_later)
    return over


def test_a_dead_server_has_no_place_before_cleanup(hand: Hand, kept_dying: threading.Event) -> None:
    try:
        hand.server.kill()
        wait_until(lambda: hand.executor.free == 0, within=LONG)
    finally:
        kept_dying.set()
    hand.wait(lambda: hand.executor.free == 2)


def test_unsent_runs_are_made_by_the_next_server(
    hand: Hand, kept_dying: threading.Event, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    before = hand.start("write_pid", path=str(path))
    hand.pids(path)
    try:
        hand.server.kill()
        wait_until(lambda: hand.executor.free == 0, within=LONG)
        after = [hand.start("answer", value=1), hand.start("spin", seconds=600)]
        hand.cancel(after[1])
    finally:
        kept_dying.set()
    assert hand.loss_of(before).charged
    assert hand.outcome_of(after[0]).result == 1
    assert hand.outcome_of(after[1]).status == "cancelled"
