"""Workers and commands in surroundings that a test makes for them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from scheduled_tasks.models import Worker
from tests.concurrency.runs import fresh, queue_a_run
from tests.support.processes import LONG, ROOT, environment_of, options, wait_until

EXECUTORS = ("process", "thread")
#: Starts a worker that may not signal processes of other users, like root in many containers.
WITHOUT_RIGHT_TO_KILL = ("setpriv", "--bounding-set=-kill")

needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="needs root and setpriv, to start processes of another user",
)
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
    python: Sequence[str] = (),
    **environment: str,
) -> Iterator[Surrounded]:
    """Start a management command on the test database.

    ``wrapper`` is a command that starts it, ``python`` are options of the interpreter.
    """
    # A file, not a pipe: what a run leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(
            [*wrapper, sys.executable, *python, str(ROOT / "manage.py"), *arguments],
            cwd=ROOT,
            env=environment_of(**{"TEST_OPTIONS": options(), **environment}),
            stdout=output,
            stderr=output,
            process_group=0,
        )
        try:
            yield Surrounded(process, output)
        finally:
            process.kill()
            process.wait(LONG)


@contextmanager
def worker(*arguments: str, **surroundings: Any) -> Iterator[Surrounded]:
    """Run a worker, from when it has announced itself, in surroundings as for ``command``."""
    before = set(Worker.objects.values_list("pk", flat=True))
    with command("runscheduler", "--no-sync", *arguments, **surroundings) as surrounded:
        begun = Worker.objects.filter(state=Worker.State.RUNNING).exclude(pk__in=before)
        wait_until(
            lambda: surrounded.process.poll() is not None or begun.exists(),
            within=LONG,
        )
        yield surrounded


def works(**surroundings: Any) -> None:
    """Check that a worker and other commands work in surroundings as for ``command``."""
    runs = [queue_a_run("tell", name=f"tell-{name}", executor=name) for name in EXECUTORS]
    with worker(**surroundings) as surrounded:
        wait_until(lambda: all(fresh(run).finished for run in runs), within=LONG)
        surrounded.stop()
    assert [(run.status, run.attempt) for run in runs] == [("partial", 1)] * len(EXECUTORS)
    for arguments in (["runtask", "tell-thread"], ["check"]):
        with command(*arguments, **surroundings) as surrounded:
            output = surrounded.wait()
            assert surrounded.process.returncode == 0, output


def after(commands: str) -> list[str]:
    """Return a wrapper that runs shell commands first."""
    return ["sh", "-ec", f'{commands}\nexec "$@"', "sh"]


@contextmanager
def control_group(**limits: int) -> Iterator[list[str]]:
    """Make a group with limits; return a wrapper that starts a command in it.

    A limit is named like its file, with ``__`` for a dot, in version 1 or 2 of control groups.
    Skip the test where no group can be made.
    """
    [controller] = {name.partition("__")[0] for name in limits}
    version_1 = Path("/sys/fs/cgroup") / controller
    parent = version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")
    group = parent / f"scheduled-tasks-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        for name, number in limits.items():
            (group / name.replace("__", ".")).write_text(str(number))
    except OSError as error:
        pytest.skip(f"needs a control group with a limit: {error}")
    try:
        yield after(f"echo $$ > {group}/cgroup.procs")
    finally:
        # The kernel lets go of the last process a moment after its end.
        wait_until(lambda: removed(group), within=LONG)


def removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True


def mounted(commands: str) -> list[str]:
    """Return a wrapper that runs shell commands in a mount namespace of its own first."""
    return ["unshare", "--mount", "--propagation=private", *after(commands)]
