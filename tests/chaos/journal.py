"""The side file: what handlers write down themselves, so that the database need not be believed.

A handler holds the lock of its task as long as it runs. The kernel lets go of it when the process
is dead, however that died, so who cannot have it runs beside another one at that very moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from scheduled_tasks import TaskContext

#: In the environment of the workers, and so of all that comes from them.
FOLDER, WORKER = "CHAOS_FOLDER", "CHAOS_WORKER"
JOURNAL, LOCKS = "journal", "locks"
BEGUN, STARTED, KEPT, ENDED = "begun", "started", "kept", "ended"
RETURNED = "returned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one attempt wrote: that it has begun, started a process, kept a checkpoint, or ended.

    ``value`` is the checkpoint that it found, or kept, or how it ended. ``beside`` says of one
    that has begun whose attempt of the same task was running, and of one that has started a
    process whose process was still there: a worker's label.
    """

    what: str
    execution: int
    attempt: int
    task: str
    worker: str
    at: float
    value: Any = None
    beside: str | None = None


@contextmanager
def attended(context: TaskContext) -> Iterator[None]:
    """Write down when an attempt begins and how it ends."""
    with lock_of(context.task_name) as beside:
        write(context, BEGUN, value=context.checkpoint, beside=beside)
        try:
            yield
        except BaseException as error:
            write(context, ENDED, value=type(error).__name__)
            raise
        write(context, ENDED, value=RETURNED)


@contextmanager
def lock_of(name: str) -> Iterator[str | None]:
    """Hold the lock of a name, if it is free; say which worker holds it otherwise."""
    with lock_file(name).open("a+") as file:
        beside = holder(file)
        try:
            yield beside
        finally:
            # Not by closing it: a process that is just being started may hold a copy for a moment.
            fcntl.flock(file, fcntl.LOCK_UN)


def leave_behind(
    context: TaskContext, command: Sequence[str], *, apart: bool
) -> subprocess.Popen[bytes]:
    """Start a process that is waited for by nobody, in a session of its own if it is ``apart``.

    It holds a lock as long as it lives, so that it is noticed if an attempt before has left one.
    """
    with lock_file(f"left by {context.task_name}").open("a+") as file:
        beside = holder(file)
        write(context, STARTED, beside=beside)
        return subprocess.Popen(command, pass_fds=[file.fileno()], start_new_session=apart)


def lock_file(name: str) -> Path:
    return Path(os.environ[FOLDER]) / LOCKS / name


def holder(file: TextIO) -> str | None:
    """Take the lock in the name of this worker, or return who has it."""
    with Path(f"{file.name}.gate").open("a") as gate:
        # Whoever has the lock has written its name by then, over that of one that was killed.
        fcntl.flock(gate, fcntl.LOCK_EX)
        try:
            if not locks(file.fileno()):
                file.seek(0)
                return file.read()
            file.truncate(0)
            file.write(os.environ[WORKER])
            file.flush()
            return None
        finally:
            fcntl.flock(gate, fcntl.LOCK_UN)


def locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write(context: TaskContext, what: str, **more: Any) -> None:
    """Append a line, whole."""
    line = Line(
        what=what,
        execution=context.execution_id,
        attempt=context.attempt,
        task=context.task_name,
        worker=os.environ[WORKER],
        at=time.time(),
        **more,
    )
    with (Path(os.environ[FOLDER]) / JOURNAL).open("ab", buffering=0) as file:
        file.write(json.dumps(asdict(line)).encode() + b"\n")


def lines(folder: Path) -> list[Line]:
    """Return all lines, in the order in which they were written."""
    with (folder / JOURNAL).open() as file:
        return [Line(**json.loads(line)) for line in file]
