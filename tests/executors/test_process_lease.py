"""The fork server as keeper of the lease: no run outlives its worker's right to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scheduled_tasks.executors.process.executor import SERVER_KILLED
from scheduled_tasks.runtime.clock import boottime
from tests.executors.processes_in_hand import Hand, pids_in, with_mark
from tests.support.processes import LONG, ROOT, alive, wait_until

EXPIRED = "The worker could not renew its lease in time."


def test_an_expired_lease_kills_and_refuses_runs(hand: Hand, tmp_path: Path) -> None:
    path = tmp_path / "pids"
    path.touch()
    runs = [hand.start("leave_descendants", path=str(path), stay=True) for _ in range(2)]
    pids = hand.pids(path, 4)
    hand.executor.extend_lease(boottime() - 1)
    for number in runs:
        loss = hand.loss_of(number)
        assert (loss.charged, loss.reason) == (True, EXPIRED)
    assert not any(alive(pid) for pid in pids)
    for _ in range(3):
        assert hand.loss_of(hand.start("answer", value=1)).reason == EXPIRED
    hand.executor.extend_lease(boottime() + 600)
    assert hand.run("answer", value=1).result == 1


def test_a_lease_that_is_not_extended_expires(hand: Hand, tmp_path: Path) -> None:
    hand.executor.extend_lease(boottime() + 600)
    number = hand.start("clean_up", path=str(tmp_path / "said"))
    [pid] = hand.pids(tmp_path / "said")
    until = boottime() + 0.5
    hand.executor.extend_lease(until)
    assert hand.loss_of(number).reason == EXPIRED
    assert until <= boottime() < until + 5
    assert not alive(pid)
    assert "cleaned up" not in (tmp_path / "said").read_text(), "there is no time for that"


def test_a_lease_extended_in_time_ends_nothing(hand: Hand, tmp_path: Path) -> None:
    release = tmp_path / "release"
    number = hand.start("wait_for", path=str(tmp_path / "pid"), release=str(release))
    for _ in range(8):
        hand.executor.extend_lease(boottime() + 2)
        time.sleep(0.1)
    hand.executor.extend_lease(boottime() + 600)
    release.touch()
    assert hand.outcome_of(number).result == "released"


def test_the_lease_passes_to_the_next_fork_server(hand: Hand) -> None:
    hand.executor.extend_lease(boottime() - 1)
    hand.replace_server()
    assert hand.loss_of(hand.start("answer", value=1)).reason == EXPIRED
    hand.executor.extend_lease(boottime() + 600)
    assert hand.run("answer", value=1).result == 1


StartWorker = Callable[..., "WorkerProcess"]


class WorkerProcess:
    """A worker with runs in hand, all of which have begun."""

    def __init__(self, folder: Path, *, lease: float = 600, held: bool = False) -> None:
        self.path = folder / "pids"
        self.path.touch()
        stays = {"path": str(self.path)}
        runs: list[tuple[str, dict[str, Any]]] = [
            ("leave_descendants", {**stays, "stay": True}),
            ("swallow", stays),
            ("clean_up", stays),
        ]
        options = json.dumps({"runs": runs, "lease": lease, "held": held})
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.executors.worker", options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        words = self.readline().split()
        self.server, self.holder = psutil.Process(int(words[0])), int(words[1])
        wait_until(lambda: len(pids_in(self.path)) == 4, within=LONG)
        children = [child.pid for child in self.server.children(recursive=True)]
        self.pids = [self.server.pid, *children, *pids_in(self.path)]

    def readline(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def left(self) -> list[int]:
        """Return what is left of the fork server and its runs."""
        return [pid for pid in self.pids if alive(pid)]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.holder:
            os.kill(self.holder, signal.SIGKILL)
            wait_until(lambda: not alive(self.holder), within=LONG)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def start_worker(mark: str, tmp_path: Path) -> Iterator[StartWorker]:
    started: list[WorkerProcess] = []

    def start(**options: Any) -> WorkerProcess:
        started.append(WorkerProcess(tmp_path, **options))
        return started[-1]

    yield start
    for worker in started:
        worker.end()
    wait_until(lambda: not with_mark(mark), within=LONG)


def test_a_killed_workers_runs_and_server_die(start_worker: StartWorker) -> None:
    worker = start_worker()
    worker.process.kill()
    wait_until(lambda: not worker.left(), within=LONG)


def test_they_die_though_another_process_holds_the_sockets(
    start_worker: StartWorker,
) -> None:
    worker = start_worker(held=True)
    worker.process.kill()
    wait_until(lambda: not worker.left(), within=LONG)
    assert alive(worker.holder)


def test_they_die_though_the_fork_server_was_stopped(start_worker: StartWorker) -> None:
    worker = start_worker()
    worker.server.suspend()
    worker.process.kill()
    wait_until(lambda: not worker.left(), within=LONG)


def test_runs_die_with_their_fork_server_at_once(
    start_worker: StartWorker,
) -> None:
    worker = start_worker()
    children = worker.server.children()
    worker.process.send_signal(signal.SIGSTOP)
    worker.server.kill()
    wait_until(lambda: not any(alive(child.pid) for child in children), within=LONG)
    worker.process.send_signal(signal.SIGCONT)
    assert SERVER_KILLED in worker.readline()


def test_they_die_when_the_worker_ends_by_itself(start_worker: StartWorker) -> None:
    worker = start_worker()
    worker.process.terminate()
    assert worker.process.wait(LONG) == -signal.SIGTERM
    wait_until(lambda: not worker.left(), within=LONG)


def test_a_stopped_workers_runs_die_before_takeover(
    start_worker: StartWorker,
) -> None:
    worker = start_worker(lease=3)
    worker.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not any(alive(pid) for pid in pids_in(worker.path)), within=10)
    assert psutil.Process(worker.process.pid).status() == psutil.STATUS_STOPPED
    assert worker.server.is_running()
    worker.process.send_signal(signal.SIGCONT)
    endings = [worker.readline() for _ in range(3)]
    assert all(ending.startswith("Loss(") and EXPIRED in ending for ending in endings), endings
