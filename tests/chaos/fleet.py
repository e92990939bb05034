"""Workers, and what keeps as many of them running, as a service manager does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.history import Life
from tests.chaos.journal import FOLDER, WORKER
from tests.support.processes import ROOT

#: In seconds.
POLL_SECONDS, MAX_END_SECONDS = 0.2, 30


class Running:
    """One worker's process."""

    def __init__(
        self,
        label: str,
        folder: Path,
        environment: Mapping[str, str],
        *,
        shutdown_timeout: int = 3,
    ) -> None:
        self.life = Life(label=label)
        with (folder / f"{label}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "manage.py", "runscheduler", f"--worker-name={label}"),
                    *("--concurrency=10", f"--shutdown-timeout={shutdown_timeout}"),
                ],
                cwd=ROOT,
                env={**environment, WORKER: label},
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    @property
    def ended(self) -> bool:
        """Say whether it has ended, and note how, and when that was first seen."""
        self.life.exit_code = self.process.poll()
        if self.life.exit_code is None:
            return False
        self.life.ended_at = min(self.life.ended_at, time.time())
        return True

    @property
    def fork_server(self) -> psutil.Process | None:
        """Return its fork server, if it has one just now."""
        return next(iter(children(self.process.pid)), None)

    @property
    def forked(self) -> list[psutil.Process]:
        """Return what its fork server has forked, nothing while that is being loaded."""
        server = self.fork_server
        return children(server.pid) if server else []

    @property
    def runs(self) -> list[psutil.Process]:
        """Return the processes of its runs."""
        return [process for process in self.forked if name_of(process).startswith("run-")]


class Fleet:
    """So many workers, each with an address of the database of its own.

    One that has ended is followed by another under a new label, until ``stop``.
    """

    def __init__(
        self, addresses: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.folder = folder
        self.environment = {**os.environ, **environment, FOLDER: str(folder)}
        self.addresses = addresses
        self.lives: dict[str, Life] = {}
        self.workers = [self._start(place, 1) for place in range(len(addresses))]
        self._generations = [1] * len(addresses)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop all workers politely, and wait until they have ended, but not for ever."""
        self._stop_supervising()
        for worker in self.workers:
            worker.process.terminate()
        deadline = time.monotonic() + MAX_END_SECONDS
        waiting = self.workers
        while waiting and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            waiting = [worker for worker in waiting if not worker.ended]

    def close(self) -> None:
        """Kill what is still there."""
        self._stop_supervising()
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def processes(self) -> list[psutil.Process]:
        """Return all processes that have come from workers and are there."""
        return [one for one in psutil.process_iter() if comes_from(one, self.folder)]

    def _start(self, place: int, generation: int) -> Running:
        environment = {**self.environment, "DATABASE_URL": self.addresses[place]}
        worker = Running(f"{'abcdefgh'[place]}{generation}", self.folder, environment)
        self.lives[worker.life.label] = worker.life
        return worker

    def _supervise(self) -> None:
        while not self._over.wait(POLL_SECONDS):
            for place, worker in enumerate(self.workers):
                if worker.ended:
                    self._generations[place] += 1
                    self.workers[place] = self._start(place, self._generations[place])

    def _stop_supervising(self) -> None:
        self._over.set()
        self._thread.join()


def children(pid: int) -> list[psutil.Process]:
    """Return the children of a process that live, none where there is no such process."""
    try:
        return [child for child in psutil.Process(pid).children() if lives(child)]
    except psutil.Error:
        return []


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""


def comes_from(process: psutil.Process, folder: Path) -> bool:
    """Say whether a process, and not only its zombie, has the mark of this fleet."""
    try:
        return process.environ().get(FOLDER) == str(folder)
    except psutil.Error:
        return False
