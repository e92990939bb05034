"""What we need from the operating system for processes, and what some systems lack."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

LINUX = sys.platform.startswith("linux")
#: Whether /proc tells about processes: it may not be mounted, as in a chroot.
LISTS_PROCESSES = LINUX and Path("/proc/self/statm").exists()

PR_SET_PDEATHSIG, PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 1, 15, 36
#: Added to the OOM score (0 to 1000), so that the kernel kills runs before the worker.
MORE_LIKELY = 500
#: The signal at which a run dumps its tracebacks: one that nothing else uses.
DUMP_SIGNAL: int = getattr(signal, "SIGRTMAX", getattr(signal, "SIGUSR2", 0))


def existing(*names: str) -> tuple[signal.Signals, ...]:
    """Return the signals with these names; Windows lacks some."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


#: The signals that ask a process to end. Service managers send them to every process of a service.
STOP_SIGNALS = existing("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")


def missing() -> list[str]:
    """Return, as sentences, what the process executor cannot do on this platform."""
    if not hasattr(os, "fork"):
        return ["It needs a POSIX system."]
    if LISTS_PROCESSES:
        return []
    lacks = [
        "memory_limit_mb has no effect: memory cannot be measured by process.",
        "A process that a run starts and detaches from its process group may outlive the run.",
    ]
    if LINUX:
        return ["/proc is not mounted.", *lacks]
    return [
        *lacks,
        "If the fork server is killed, runs end only when they next report to it.",
        "Each run starts in a fresh interpreter: forking a loaded one is not safe here.",
    ]


def die_with(parent: int, number: int | None = None) -> None:
    """Have this process killed, or sent a signal, when its parent dies; exit if it is dead."""
    if LINUX:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL if number is None else number)
    # A parent that died before the call above sends no signal.
    if os.getppid() != parent:
        os._exit(1)


def wake_when_parent_dies() -> None:
    """Have this process continued, if it is stopped, when its parent dies."""
    if LINUX:
        prctl(PR_SET_PDEATHSIG, signal.SIGCONT)


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose parent dies."""
    if LINUX:
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def set_name(name: str) -> None:
    """Set the name of this process that ``top`` shows; the kernel keeps 15 characters."""
    if LINUX:
        prctl(PR_SET_NAME, name.encode())


def prctl(option: int, value: int | bytes) -> None:
    libc().prctl(option, value, 0, 0, 0)


@cache
def libc() -> ctypes.CDLL:
    """Return the C library. Cached, so that forked processes need not load it again."""
    return ctypes.CDLL(None)


def raise_oom_score() -> None:
    """Make the kernel kill this process before its worker when memory runs out."""
    with suppress(OSError):
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(file, raised_oom_score())
        os.close(file)


@cache
def raised_oom_score() -> bytes:
    """Return the score for processes that are forked from this one. Cached for them."""
    own = text_of("/proc/self/oom_score_adj").strip() or "0"
    return str(min(int(own) + MORE_LIKELY, 1000)).encode()


def oom_kills() -> int:
    """Return the number of processes that the kernel has killed for lack of memory.

    Counted in this process's control group if there is one, else on the whole machine.
    """
    for line in text_of(oom_kill_file()).splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0


@cache
def oom_kill_file() -> str:
    """Return the file with the kernel's counter. Cached for each process."""
    candidates = []
    for line in text_of("/proc/self/cgroup").splitlines():
        match line.split(":", 2):
            case [_, "", path]:
                candidates.append(f"/sys/fs/cgroup{path}/memory.events")
            case [_, "memory", path]:  # version 1 of control groups
                candidates.append(f"/sys/fs/cgroup/memory{path}/memory.oom_control")
    found = (file for file in candidates if "oom_kill " in text_of(file))
    return next(found, "/proc/vmstat")


def children_of(pid: int) -> list[int]:
    """Return the children of a process, zombies too; none if the system does not list them."""
    found: list[int] = []
    with suppress(OSError):
        # The kernel lists children by the thread that forked them.
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 -- as in text_of
            found += map(int, text_of(f"/proc/{pid}/task/{task}/children").split())
    return found


def processes() -> Iterator[psutil.Process]:
    """Yield the processes of this machine; none if the system does not list them."""
    if LISTS_PROCESSES or not LINUX:
        yield from psutil.process_iter()


def process_tree(pid: int) -> list[int]:
    found = [pid]
    # The list grows while it is read, so that grandchildren are found, too.
    for member in found:
        found += children_of(member)
    return found


def peak_resident_of(pid: int) -> int:
    """Return the peak resident memory of a process in bytes, 0 if it is not known."""
    for line in text_of(f"/proc/{pid}/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def reset_peak_resident(pid: int) -> None:
    with suppress(OSError):
        # 5 stands for the peak; lower numbers would clear the bits of pages.
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def text_of(path: str) -> str:
    # Several files are read for each run; creating Path objects would take longer than reading.
    try:
        with open(path) as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""
