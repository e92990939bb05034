"""Handlers that change their own process, its signals above all."""

from __future__ import annotations

import atexit
import builtins
import faulthandler
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.db import connections

from scheduled_tasks import TaskContext, scheduled_task
from tests.jobs.tasks import append


@scheduled_task
def loop_until_terminated(context: TaskContext, *, raises: bool = False) -> str:
    """Replace the handler of SIGTERM, as management commands with a loop do, and say so."""
    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stop.append(number))
    context.logger.info("looping")
    while not stop:
        time.sleep(0.01)
    if raises:
        raise ValueError("not in the mood")
    return "stopped"


@scheduled_task
def loop_until_cancelled(context: TaskContext) -> str:
    """Ignore SIGTERM, and look whether to stop."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.logger.info("looping")
    while not context.cancelled:
        time.sleep(0.01)
    return "stopped"


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def raise_in_sigterm() -> None:
    def leave(number: int, frame: object) -> None:
        sys.exit(3)

    signal.signal(signal.SIGTERM, leave)


def replace_dump_signal() -> None:
    signal.signal(signal.SIGRTMAX, lambda number, frame: time.sleep(600))
    faulthandler.disable()


def leave_group() -> None:
    os.setpgid(0, os.getppid())


def remove_directory() -> None:
    os.chdir(tempfile.mkdtemp())
    Path.cwd().rmdir()


def limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))


def close_streams() -> None:
    sys.stdout = sys.stderr = None
    os.close(1)
    os.close(2)


def replace_functions() -> None:
    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("replaced")

    for name in ("monotonic", "perf_counter", "sleep"):
        setattr(time, name, broken)
    os.write = broken
    threading.Thread = threading.Lock = socket.socket = broken
    json.dumps = json.loads = builtins.print = broken


def freeze_clocks() -> None:
    for name in ("time", "monotonic", "perf_counter"):
        setattr(time, name, lambda: -1e6)


#: What a handler may do to its own process before it returns.
HABITS: dict[str, Callable[[], object]] = {
    "block signals": block_signals,
    "raise at SIGTERM": raise_in_sigterm,
    "replace the signal of dumps": replace_dump_signal,
    "set an alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 0.05),
    "leave its process group": leave_group,
    "stand in a removed directory": remove_directory,
    "limit its resources": limit_resources,
    "close its streams": close_streams,
    "lower the recursion limit": lambda: sys.setrecursionlimit(60),
    "replace functions": replace_functions,
    "freeze clocks": freeze_clocks,
    "mask files": lambda: os.umask(0o777),
    "collect no garbage": gc.disable,
    "exit at exit": lambda: atexit.register(sys.exit, 3),
    "set up again": django.setup,
    "close connections": connections.close_all,
    "replace the wake-up descriptor": lambda: signal.set_wakeup_fd(-1),
    "ignore children": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
}


@scheduled_task
def do_and_return(habit: str) -> str:
    """Do something to its process, and return."""
    HABITS[habit]()
    return "done"


@scheduled_task
def do_and_stay(habit: str, path: str) -> None:
    """Do something to its process, and stay."""
    append(path, str(os.getpid()))
    HABITS[habit]()
    while True:
        select.select([], [], [], 60)
