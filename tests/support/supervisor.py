"""A service manager: starts a scheduler again whenever it has ended."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import LONG, manage


class Supervisor(threading.Thread):
    """Keeps one scheduler running until it is stopped; its log goes to a file."""

    def __init__(self, log: Path, *arguments: str, **environment: str) -> None:
        super().__init__(daemon=True)
        self.log, self.arguments, self.environment = log, arguments, environment
        self.process: subprocess.Popen[str] | None = None
        self.over = threading.Event()

    def run(self) -> None:
        with self.log.open("a") as log:
            while not self.over.is_set():
                self.process = manage(
                    "runscheduler", "--no-sync", *self.arguments, output=log, **self.environment
                )
                while self.process.poll() is None and not self.over.wait(0.05):
                    pass
            if self.process is not None:
                self.process.kill()
                self.process.wait(LONG)


@contextmanager
def supervised(log: Path, *arguments: str, count: int = 1, **environment: str) -> Iterator[None]:
    """Keep schedulers running during the block."""
    supervisors = [Supervisor(log, *arguments, **environment) for _ in range(count)]
    for supervisor in supervisors:
        supervisor.start()
    try:
        yield
    finally:
        for supervisor in supervisors:
            supervisor.over.set()
        for supervisor in supervisors:
            supervisor.join(LONG)
