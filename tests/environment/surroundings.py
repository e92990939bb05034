"""Workers and commands in surroundings that a test makes for them."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import pytest

from scheduled_tasks.models import Worker
from tests.support.processes import LONG, ROOT, environment_of, options, wait_until

PR_CAPBSET_DROP, CAP_KILL = 24, 5

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="needs root and unshare, to mount file systems that only the worker sees",
)


class Surrounded:
    """A process and its output, which is read when it has ended."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[str]) -> None:
        self.process = process
        self._output = output

    @property
    def output(self) -> str:
        """What has been printed so far."""
        self._output.seek(0)
        return self._output.read()

    def wait(self) -> str:
        """Wait for the end without a traceback of our own; return the output."""
        self.process.wait(LONG)
        assert "Traceback" not in self.output, self.output
        return self.output

    def stop(self) -> str:
        """Ask a worker to stop, and check that it does so cleanly; return its output."""
        assert self.process.poll() is None, self.output
        self.process.send_signal(signal.SIGTERM)
        output = self.wait()
        assert self.process.returncode == 0, output
        return output


@contextmanager
def command(
    *arguments: str,
    wrapper: Sequence[str] = (),
    before: Callable[[], None] | None = None,
    python: Sequence[str] = (),
    **environment: str,
) -> Iterator[Surrounded]:
    """Start a management command on the test database.

    ``wrapper`` is a command that starts it, ``before`` is called in its process first, ``python``
    are options of the interpreter.
    """
    # A file, not a pipe: what a run leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [*wrapper, sys.executable, *python, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=environment_of(**{"TEST_OPTIONS": options(), **environment}),
            stdout=output,
            stderr=output,
            preexec_fn=before,
            process_group=0,
        )
        try:
            yield Surrounded(process, output)
        finally:
            process.kill()
            process.wait(LONG)


@contextmanager
def worker(*arguments: str, **surroundings: object) -> Iterator[Surrounded]:
    """Run a worker, from when it has announced itself, in surroundings as for ``command``."""
    before = set(Worker.objects.values_list("pk", flat=True))
    with command("runscheduler", "--no-sync", *arguments, **surroundings) as surrounded:  # type: ignore[arg-type]
        begun = Worker.objects.filter(state=Worker.State.RUNNING).exclude(pk__in=before)
        wait_until(
            lambda: surrounded.process.poll() is not None or begun.exists(),
            within=LONG,
        )
        yield surrounded


def mounted(commands: str) -> list[str]:
    """Return a wrapper that runs shell commands in a mount namespace of its own first."""
    script = f'{commands}\nexec "$@"'
    return ["unshare", "--mount", "--propagation=private", "sh", "-ec", script, "sh"]


def without_the_right_to_kill() -> None:
    """Give up the right to signal processes of other users, as containers do."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0)
