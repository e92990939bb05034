"""Real worker processes: started, watched and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from django.db import connection

from benchmarks import marks
from benchmarks.contestants.base import Program
from benchmarks.marks import Mark
from benchmarks.measure import NotMeasuredError, cpu_seconds, memory_mb

ROOT = Path(__file__).parent.parent
#: So many seconds after their start all workers have nothing to do but to wait for jobs.
START_UP = 8.0
#: It is looked so often, in seconds, whether all marks are there.
LOOK = 0.05
#: Jobs that come to no end: after so many seconds without another mark it is given up.
STALL = 60.0
#: What workers may take to stop, in seconds; then they are killed.
GRACE = 10.0
SHOWN_OF_LOG = 300


class Workers:
    """Running processes of one program and the marks of their jobs."""

    def __init__(self, program: Program, count: int, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.started_at = time.time()
        self.processes = [self._start() for _ in range(count)]

    @property
    def roots(self) -> list[psutil.Process]:
        """Return the processes that were started, not what they have started."""
        return [psutil.Process(process.pid) for process in self.processes]

    @property
    def cpu(self) -> float:
        """Return the seconds of CPU that they, and all that they started, have used."""
        return cpu_seconds(self.roots)

    @property
    def memory_mb(self) -> float:
        """Return the memory that they, and all that they started, hold, in MB."""
        return memory_mb(self.roots)

    @property
    def marks(self) -> list[Mark]:
        """Return the marks up to now."""
        return marks.read(self.mark_file)

    @property
    def mark_file(self) -> Path:
        """Return where jobs leave their marks."""
        return self.folder / "marks"

    def wait_for(self, count: int, *, until: float = 0) -> list[Mark]:
        """Wait for so many marks, and return them.

        Raise NotMeasuredError if none comes for long after ``until``, or a worker has ended.
        """
        seen, seen_at = 0, time.time()
        while (now_seen := marks.count(self.mark_file)) < count:
            if now_seen > seen:
                seen, seen_at = now_seen, time.time()
            self._check()
            if time.time() - max(seen_at, until) > STALL:
                raise NotMeasuredError(f"only {seen} of {count} jobs were run. {self._log_end()}")
            time.sleep(LOOK)
        return self.marks

    def stop(self) -> None:
        """Ask the workers to stop, then kill what is left of them."""
        for process in self.processes:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            deadline = time.monotonic() + GRACE
            for process in self.processes:
                process.wait(max(deadline - time.monotonic(), 0))
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.program.command(),
                cwd=ROOT,
                env={
                    **os.environ,
                    "BENCHMARK_DATABASE": str(connection.settings_dict["NAME"]),
                    "MARK_FILE": str(self.mark_file),
                    **self.program.environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _check(self) -> None:
        for process in self.processes:
            if (code := process.poll()) is not None:
                raise NotMeasuredError(f"a worker ended with exit code {code}. {self._log_end()}")

    def _log_end(self) -> str:
        return (self.folder / "log").read_text(errors="replace").strip()[-SHOWN_OF_LOG:]


def now() -> float:
    """Return the seconds since 1970."""
    return time.time()


@contextmanager
def running(program: Program, count: int = 1) -> Iterator[Workers]:
    """Run processes of a program; at the end stop them and remove what it has stored."""
    with tempfile.TemporaryDirectory() as folder:
        workers = Workers(program, count, Path(folder))
        try:
            yield workers
        finally:
            workers.stop()
            program.empty()
