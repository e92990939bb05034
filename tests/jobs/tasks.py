"""Handlers for the tests that start real processes: one for each way a run can go."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from django.db import transaction

from scheduled_tasks import Retry, RetryLater, TaskContext, scheduled_task
from scheduled_tasks.exceptions import RunInterrupted


@scheduled_task
def mark(context: TaskContext) -> None:
    """Append the number of the execution to the file named by MARK_FILE, in one write."""
    append(os.environ["MARK_FILE"], f"{context.execution_id} {context.attempt}")


@scheduled_task
def fail() -> None:
    """Raise."""
    raise RuntimeError("this handler always fails")


@scheduled_task
def hold(context: TaskContext) -> str:
    """Say that it has begun, then wait until the file named by RELEASE_FILE appears."""
    mark(context)
    while not Path(os.environ["RELEASE_FILE"]).exists():
        time.sleep(0.02)
    return "released"


@scheduled_task
def answer(value: Any = None) -> Any:
    """Return what it is given."""
    return value


@scheduled_task
def large_answer(megabytes: int) -> str:
    """Return a long text."""
    return "x" * (megabytes << 20)


@scheduled_task
def segfault() -> None:
    """Read where nothing is."""
    ctypes.string_at(0)


@scheduled_task
def leave(code: int, *, politely: bool = False) -> None:
    """End the process, or ask the interpreter to."""
    if politely:
        sys.exit(code)
    os._exit(code)


@scheduled_task
def raise_unpicklable() -> None:
    """Raise what no pickle and no deep copy can take."""

    class LocalError(Exception):
        def __reduce__(self) -> str:
            raise TypeError("cannot be pickled")

    raise LocalError("odd")


@scheduled_task
def write_pid(path: str) -> None:
    """Write the number of its process, and stay."""
    append(path, str(os.getpid()))
    time.sleep(600)


@scheduled_task
def ignore_terms(path: str) -> None:
    """Ignore every signal that can be ignored, and never end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    append(path, str(os.getpid()))
    while True:
        time.sleep(60)


@scheduled_task
def swallow(path: str) -> None:
    """Catch everything, always."""
    while True:
        try:
            append(path, str(os.getpid()))
            time.sleep(60)
        except BaseException:  # noqa: BLE001
            append(path, "caught")


@scheduled_task
def clean_up(path: str) -> None:
    """Say that it was interrupted, in a finally."""
    try:
        append(path, str(os.getpid()))
        time.sleep(600)
    finally:
        append(path, "cleaned up")


@scheduled_task
def look_and_return(context: TaskContext) -> dict[str, int]:
    """Look whether it is to stop, and return what it has done when it is."""
    done = 0
    try:
        while True:
            done += 1
            time.sleep(0.01)
    except BaseException:  # noqa: BLE001
        assert context.cancelled
        return {"done": done}


@scheduled_task
async def wait_async(path: str) -> None:
    """Await for ever."""
    try:
        append(path, str(os.getpid()))
        await asyncio.sleep(600)
    finally:
        append(path, "cleaned up")


@scheduled_task
def leave_descendants(path: str, *, stay: bool = False) -> None:
    """Start a child, and a grandchild that goes off into a session of its own."""
    Path(path).touch()
    subprocess.Popen(["sh", "-c", f"echo $$ >> {path}; sleep 600"])
    double_fork(path)
    while len(Path(path).read_text().split()) < 2 or stay:
        time.sleep(0.02)


@scheduled_task
def bomb(path: str, count: int) -> None:
    """Fork many processes that do not end, half of them in sessions of their own."""
    for number in range(count):
        if os.fork() == 0:
            if number % 2:
                os.setsid()
            append(path, str(os.getpid()))
            while True:
                time.sleep(60)
    time.sleep(600)


@scheduled_task
def hog(megabytes: int, *, seconds: float = 600) -> int:
    """Use so much memory for a while."""
    held = [bytearray(os.urandom(1 << 20)) for _ in range(megabytes)]
    time.sleep(seconds)
    return len(held)


@scheduled_task
def hog_in_child(megabytes: int) -> None:
    """Let a child process use so much memory."""
    code = f"import os, time; x = [os.urandom(1 << 20) for _ in range({megabytes})]; time.sleep(9)"
    subprocess.run([sys.executable, "-c", code], check=True)


@scheduled_task
def nap(seconds: float) -> str:
    """Sleep."""
    time.sleep(seconds)
    return "rested"


@scheduled_task
def spin(seconds: float) -> int:
    """Compute in pure Python without a pause."""
    end, turns = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        turns += 1
    return turns


@scheduled_task
def flood(megabytes: int) -> None:
    """Write a lot to standard output."""
    line = "x" * 1023 + "\n"
    for _ in range(megabytes << 10):
        sys.stdout.write(line)


@scheduled_task
def tell(context: TaskContext, lines: int = 3) -> dict[str, Any]:
    """Say everything that a run can say; the rollback of its own transaction takes none back."""
    with transaction.atomic():
        for number in range(lines):
            context.logger.info("line %s", number)
        context.logger.debug("not said")
        logging.getLogger("elsewhere").warning("from elsewhere")
        context.progress(1, 4, "one of four")
        context.record(processed=3, errors=1)
        context.record(processed=4)
        context.checkpoint = {"before": context.checkpoint, "attempt": context.attempt}
        transaction.set_rollback(True)
    return {"checkpoint": context.checkpoint}


@scheduled_task
async def tell_async(context: TaskContext) -> str:
    """Say something from an async handler."""
    context.logger.info("from async")
    await asyncio.sleep(0)
    context.checkpoint = [1, 2]
    return "said"


@scheduled_task
def keep_telling(context: TaskContext, path: str) -> None:
    """Say something every little while, and write down what stops it."""
    try:
        append(path, str(os.getpid()))
        while True:
            context.logger.info("something")
            time.sleep(0.01)
    except BaseException as error:
        append(path, type(error).__name__)
        raise


def append(path: str, line: str) -> None:
    """Append a line to a file in one write."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def double_fork(path: str) -> None:
    """Start a daemon as Unix programs do: two forks, a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            append(path, str(os.getpid()))
            time.sleep(600)
        os._exit(0)


@scheduled_task
def stay_at_first(context: TaskContext, path: str) -> str:
    """Write the number of its process and stay; in later attempts, return."""
    append(path, str(os.getpid()))
    while context.attempt == 1:
        time.sleep(0.05)
    return f"attempt {context.attempt}"


@scheduled_task(retry=Retry(give_up_on=(ValueError,)))
def raise_in_turn(context: TaskContext, *, gives_up: bool = False) -> str:
    """Ask for another time, fail, and then succeed, or fail for good."""
    match context.attempt:
        case 1:
            raise RetryLater(0, "not yet")
        case 2:
            raise ConnectionError("no luck")
    if gives_up:
        raise ValueError("never")
    return "done"


from tests.jobs import habits, hostile, huge, steps, talkative  # noqa: E402, F401 -- they use what stands above


@scheduled_task
def end_when_asked(context: TaskContext, path: str) -> str:
    """Write the number of its process, and return in peace when it is to stop."""
    try:
        append(path, str(os.getpid()))
        while True:
            time.sleep(0.05)
    except RunInterrupted:
        return f"ended, cancelled={context.cancelled}"


@scheduled_task
def go_on_from_checkpoint(context: TaskContext, path: str) -> Any:
    """Leave a checkpoint and stay; where there is one already, return it."""
    if context.checkpoint is None:
        context.checkpoint = {"left by": context.attempt}
        append(path, str(os.getpid()))
        time.sleep(600)
    return context.checkpoint


@scheduled_task
def say_much_and_clean_up(context: TaskContext, path: str) -> None:
    """Say a lot at once, and take a while to clean up when interrupted."""
    try:
        for _ in range(150):
            context.record(processed=1)
        time.sleep(600)
    except BaseException as error:
        append(path, type(error).__name__)
        time.sleep(0.3)
        append(path, "cleaned up")
        raise
