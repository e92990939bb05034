"""Handlers that write wherever a process can write."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

from django.db import connection, transaction

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.models import Worker

logger = logging.getLogger("shop.orders")

SECRET = "hunter2xyz"


@scheduled_task
def print_everywhere(context: TaskContext) -> str:
    """Log, print, and write below Python, and let others do so."""
    context.logger.info("from the context")
    logger.warning("from a module")
    print("printed")
    print("printed to stderr", file=sys.stderr)
    thread = threading.Thread(target=logger.error, args=("from a thread",))
    thread.start()
    thread.join()
    os.write(1, b"below \xff Python\n")
    subprocess.run(["/bin/sh", "-c", "echo from a shell; echo in trouble >&2"], check=True)
    subprocess.run(["/bin/sh", "-c", "echo sent to stdout"], stdout=sys.stdout, check=True)
    sys.stdout.buffer.write(b"bytes for stdout\n")
    assert sys.__stdout__ is not None
    sys.__stdout__.write("to Python's first stream\n")
    ctypes.CDLL(None).printf(b"from C\n")
    forked = multiprocessing.get_context("fork").Process(target=print, args=("from a fork",))
    forked.start()
    forked.join()
    os.write(2, b"without an end")
    return "said"


@scheduled_task
def print_and_crash() -> None:
    """Print, also what has no end, and crash."""
    print("before the crash", end="")
    os.write(1, b"below, before the crash\n")
    os.abort()


@scheduled_task
def print_strange_things(context: TaskContext, *, below: bool = True) -> str:
    """Log and print what no database takes, and let it out ``below`` Python, too."""
    context.logger.info("nul \0 and \udcff")
    context.logger.info("x" * 1_000_000)
    print("nul \0 and \udcff")
    print("y" * 1_000_000)
    if below:
        os.write(1, b"nul \0 and \xff\n" + b"z" * 1_000_000 + b"\n")
    warnings.warn("mind the gap", stacklevel=1)
    context.logger.info("%d", "no number")
    return "done"


@scheduled_task
def log_lines(context: TaskContext, count: int) -> int:
    """Log so many lines."""
    for number in range(count):
        context.logger.info("line %d of the many that this run has to say", number)
    return count


@scheduled_task
def write_hostile_bytes() -> str:
    """Write what would stop a scan that reads the same characters again, and other bytes."""
    write_all(b'password=\\"' + SECRET.encode() + b"\\" * 1_000_000 + b"\n")
    write_all(b"password=(" * 50_000 + b"\n" + b"\r" * 500_000 + b"\n" * 500_000)
    write_all(os.urandom(500_000) + b"\nthe last line\n")
    return "written"


def write_all(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


@scheduled_task
def pour(megabytes: int) -> str:
    """Let a process write so much, line after line."""
    command = f"yes a line of the flood | head -c {megabytes}M"
    subprocess.run(["/bin/sh", "-c", command], check=True)
    return "over"


@scheduled_task
def say_and_wait(release: str) -> str:
    """Print a line, and wait until a file appears."""
    print("seen while it goes on", flush=True)
    while not Path(release).exists():
        time.sleep(0.01)
    return "released"


@scheduled_task
def tell_secrets(context: TaskContext) -> None:
    """Let a secret out wherever there is a way."""
    context.logger.info("login password=%s", SECRET)
    print(f"token: {SECRET}")
    os.write(1, f"api_key={SECRET}\n".encode())
    context.progress(1, 2, f"secret={SECRET}")
    raise PermissionError(f"login refused, password={SECRET}")


@scheduled_task
def say_all_and_wait(context: TaskContext, release: str) -> str:
    """Say everything that a run can say, and wait until a file appears."""
    context.logger.info("begun")
    print("printed")
    context.progress(1, 4, "a quarter")
    context.record(processed=3)
    context.checkpoint = {"page": 1}
    while not Path(release).exists():
        time.sleep(0.01)
    return "released"


@scheduled_task
async def say_all_and_await(context: TaskContext, release: str) -> None:
    """Leave a checkpoint, and await for ever."""
    await context.acheckpoint({"page": 1})
    await asyncio.sleep(600)


@scheduled_task
def show_progress(context: TaskContext) -> str:
    """Go through a loop, and log now and then."""
    for number in context.progress(range(3), text="pages"):
        context.logger.info("page %s", number)
        time.sleep(0.6)
    return "read"


@scheduled_task
def write_and_say(context: TaskContext, way: str, lines: int = 5) -> str:
    """Write in a transaction, which may stay open, and say something the while."""
    Worker.objects.filter(label="nobody").delete()
    if way == "atomic":
        with transaction.atomic():
            Worker.objects.create(label="of the handler", host="h", pid=1)
            say_much(context, lines)
        return "committed"
    if way == "open":
        transaction.atomic().__enter__()
    else:
        transaction.set_autocommit(False)
    Worker.objects.create(label="of the handler", host="h", pid=1)
    say_much(context, lines)
    return "left open"


def say_much(context: TaskContext, lines: int) -> None:
    for number in range(lines):
        context.logger.info("line %s", number)
    context.record(processed=lines)
    context.checkpoint = lines


@scheduled_task
def print_text(text: str) -> None:
    """Print a text."""
    print(text)


@scheduled_task
def replace_the_connection() -> str:
    """Leave an open transaction on a connection that cannot be closed."""
    transaction.set_autocommit(False)
    connection.connection = object()
    return "replaced"
