"""Handlers that do to their process, and to those around it, what no handler should."""

from __future__ import annotations

import asyncio
import contextvars
import mmap
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from django.db import connections

from scheduled_tasks import TaskContext, scheduled_task
from scheduled_tasks.executors.process.operating_system import STOP_SIGNALS
from tests.jobs.tasks import append, swallow

MEGABYTE = 1 << 20


@scheduled_task
def wait_for(path: str, release: str) -> str:
    """Write down its process, and wait until a file appears."""
    append(path, str(os.getpid()))
    while not Path(release).exists():
        time.sleep(0.01)
    return "released"


@scheduled_task
def kill_container(
    context: TaskContext, path: str, seconds: float, *, server_only: bool = False
) -> None:
    """Kill the fork server and the worker after a while, as an out-of-memory kill does."""
    append(path, f"{context.execution_id} {context.attempt}")
    time.sleep(seconds)
    if "run-" in threading.current_thread().name:
        os.kill(os.getpid(), signal.SIGKILL)  # a thread of the worker
    server = os.getppid()
    worker = psutil.Process(server).ppid()
    os.kill(server, signal.SIGKILL)
    if not server_only:
        os.kill(worker, signal.SIGKILL)
    time.sleep(60)


@scheduled_task
def close_descriptors() -> str:
    """Close every descriptor but the first three, as daemons do."""
    os.closerange(3, 256)
    return "closed"


@scheduled_task
def write_into_stream(data: str, times: int = 1) -> str:
    """Write into the socket that its process talks through."""
    for descriptor in range(3, 256):
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                with socket.socket(fileno=os.dup(descriptor)) as stream:
                    for _ in range(times):
                        stream.sendall(bytes.fromhex(data))
        except OSError:
            continue
    time.sleep(0.2)
    return "written"


@scheduled_task
def return_twice(*, raises: bool) -> str:
    """Fork, and let the forked process come back out of the handler too."""
    pid = os.fork()
    if pid == 0:
        if raises:
            raise RuntimeError("in the forked process")
        return "from the forked process"
    os.waitpid(pid, 0)
    time.sleep(1)
    return "from the run"


@scheduled_task
def fill_memory(megabytes: int, path: str = "", go: str = "") -> None:
    """Use much memory; write down the process and wait for a file before, if asked."""
    if path:
        append(path, str(os.getpid()))
    while go and not Path(go).exists():
        time.sleep(0.01)
    assert [os.urandom(MEGABYTE) for _ in range(megabytes)]


@scheduled_task
def exit_when_asked(code: int) -> None:
    """End the process when the run is to stop."""
    try:
        time.sleep(600)
    finally:
        os._exit(code)


@scheduled_task
def leave_checkpoint(context: TaskContext, path: str) -> None:
    """Leave a checkpoint and write down what comes of it."""
    try:
        append(path, "asked")
        context.checkpoint = 1
    except BaseException as error:
        append(path, type(error).__name__)
        raise
    append(path, "written")


@scheduled_task
async def leave_checkpoint_async(context: TaskContext, path: str) -> None:
    """Leave a checkpoint in an async handler."""
    await asyncio.sleep(0)
    leave_checkpoint(context, path)


@scheduled_task
def share_memory(megabytes: int, children: int, seconds: float) -> None:
    """Use memory, and fork processes that share it."""
    held = os.urandom(MEGABYTE * megabytes)
    for _ in range(children):
        if os.fork() == 0:
            time.sleep(600)
    time.sleep(seconds)
    assert held


@scheduled_task
def share_mapping(megabytes: int) -> None:
    """Use memory that is never this process's alone, but for one megabyte."""
    mapping = mmap.mmap(-1, megabytes * MEGABYTE)
    (ready, tell), (read, told) = os.pipe(), os.pipe()
    forked = os.fork() == 0
    for begin in range(0, len(mapping), MEGABYTE):
        if forked:
            os.read(ready, 1)
            assert mapping[begin : begin + MEGABYTE]
            os.write(told, b"!")
        else:
            mapping[begin : begin + MEGABYTE] = b"x" * MEGABYTE
            os.write(tell, b"!")
            os.read(read, 1)
    time.sleep(600)


@scheduled_task
def terminate_processes(count: int) -> list[int | None]:
    """Start processes as multiprocessing does, and end each at once as that does."""
    codes = []
    for _ in range(count):
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        process.start()
        process.terminate()
        process.join()
        codes.append(process.exitcode)
    return codes


@scheduled_task
def use_pool() -> list[int]:
    """Let a pool of processes compute, and terminate it."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, -2, -3])


@scheduled_task
def wait_for_child(path: str) -> None:
    """Wait for a child process that takes long."""
    subprocess.run(["sh", "-c", f"echo $$ >> {path}; exec sleep 600"], check=True)


@scheduled_task
def leave_daemon(path: str) -> int:
    """Leave a process behind in a session of its own, without an environment."""
    code = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "with open(sys.argv[1], 'a') as file: print(os.getpid(), file=file)\n"
        "time.sleep(600)\n"
    )
    before = Path(path).read_text() if Path(path).exists() else ""
    subprocess.run([sys.executable, "-I", "-c", code, path], env={}, check=True)
    while not Path(path).exists() or Path(path).read_text() == before:
        time.sleep(0.01)
    return os.getpid()


@scheduled_task
def log_many(context: TaskContext, count: int, width: int) -> int:
    """Log so many lines of such a width."""
    for number in range(count):
        context.logger.info("%*d", width, number)
    return count


@scheduled_task
def log_from_all_sides(context: TaskContext, count: int) -> None:
    """Log from threads and from forked processes at the same time."""

    def log(name: str) -> None:
        for number in range(count):
            context.logger.info("%s %s", name, number)

    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                log("fork")
                context.checkpoint = "of a fork"
            finally:
                os._exit(0)
        pids.append(pid)
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(log, f"thread {number}"))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    log("main")
    for thread in threads:
        thread.join()
    for pid in pids:
        os.waitpid(pid, 0)


@scheduled_task
def about_process() -> dict[str, Any]:
    """Return what its process is like."""
    descriptors = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # another thread may close it meanwhile
            descriptors[link.name] = str(link.readlink())
    databases = [connection for connection in connections.all() if connection.connection]
    return {
        "pid": os.getpid(),
        "parent": os.getppid(),
        "group": os.getpgid(0),
        "session": os.getsid(0),
        "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
        "descriptors": descriptors,
        "database": str(connections["default"].settings_dict["NAME"]),
        "open_databases": len(databases),
        "threads": threading.active_count(),
        "ignored_signals": [
            number.name for number in STOP_SIGNALS if signal.getsignal(number) is signal.SIG_IGN
        ],
    }


@scheduled_task
def say_and_swallow(context: TaskContext, path: str) -> None:
    """Say something once, and end for nothing that comes of it."""
    try:
        append(path, str(os.getpid()))
        context.progress(1)
        time.sleep(60)
    except BaseException:  # noqa: BLE001
        append(path, "caught")
    swallow(path)


@scheduled_task
def log_oddly(context: TaskContext) -> None:
    """Log what cannot be stored, and what cannot be formatted."""
    context.logger.info("a\0b\ud800")
    context.logger.info("%d of %d", "one")  # noqa: PLE1206
    context.logger.info("after")


@scheduled_task
def spin_and_clean_up(path: str) -> None:
    """Do what a thread can be interrupted in, and say that it was, in a finally."""
    try:
        append(path, str(os.getpid()))
        while True:
            time.sleep(0.01)
    finally:
        append(path, "cleaned up")


@scheduled_task
def leave_process_of_other_user(path: str) -> None:
    """Leave a daemon behind that runs as another user."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            append(path, str(os.getpid()))
            os.setuid(65534)
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not Path(path).exists():
        time.sleep(0.01)
