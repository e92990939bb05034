"""The liveness probe: ``python -m scheduled_tasks.probe PATH`` exits with 0 if a worker is alive.

It reads the file that ``runscheduler --liveness-file PATH`` writes, and nothing else: no settings,
no database. So it is quick, and an outage of the database restarts no worker. It needs the standard
library only.

Both sides use the monotonic clock, which is the same for all processes of a machine and follows no
change of the wall clock. The time of the file itself says nothing: it is not even read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from stat import S_ISDIR, S_ISREG
from time import monotonic
from typing import NamedTuple

#: Liveness files are much shorter.
MAX_FILE_BYTES = 65_536
#: The states of a process that has ended, in ``/proc``.
ENDED_STATES = ("Z", "X")
#: Where the start of a process is in the fields of its ``stat`` that follow its name.
STATE_FIELD, START_FIELD = 0, 19


class NotAliveError(Exception):
    """Says in one sentence why there is no worker that is known to be alive, and what to do."""


class Liveness(NamedTuple):
    """The content of a liveness file.

    ``process_start``, ``boot`` and ``pid_namespace`` tell the worker from a process of the same
    number that came later, in another container or after a restart of the machine. They are ""
    where they are not known.
    """

    label: str
    pid: int
    process_start: str
    boot: str
    pid_namespace: str
    #: How many seconds ago each loop may have been active.
    max_age: float
    #: When each loop was active, by the monotonic clock.
    loops: dict[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one sentence; return 0 if the worker is alive, 1 if not."""
    options = parser().parse_args(arguments)
    try:
        sentence, code = describe(options.path, options.max_age), 0
    except NotAliveError as error:
        sentence, code = str(error), 1
    # Not print(): the exit code must not depend on who reads the output, nor on its encoding.
    with suppress(OSError):
        os.write(1, f"{sentence}\n".encode(errors="backslashreplace"))
    return code


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scheduled_tasks.probe",
        description="Exit with 0 if the worker that writes this file is alive, with 1 if not.",
        # With the width given, it does not import shutil, which takes a fifth of the time.
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=80),
    )
    parser.add_argument("path", metavar="PATH", help="What runscheduler --liveness-file was given.")
    parser.add_argument(
        "--max-age",
        type=seconds,
        metavar="SECONDS",
        help="How long a loop of the worker may stand still. Default: what the file says, a LEASE.",
    )
    return parser


def seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < inf:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return number


def describe(path: str, max_age: float | None = None) -> str:
    """Return a sentence about the worker that writes the file. Raise NotAliveError."""
    found = read_or_explain(path)
    # After the file was read, so that no age of a living worker is negative.
    now = monotonic()
    ages = {loop: now - moment for loop, moment in found.loops.items()}
    worker = f"worker {found.label!r} (pid {found.pid})"
    if differ(found.boot, boot_id()) or not all(age >= 0 for age in ages.values()):
        raise NotAliveError(
            f"Start the worker again: {path!r} was written before this machine was started, or on "
            "another machine."
        )
    if found.pid_namespace != pid_namespace():
        raise NotAliveError(
            f"Run the probe in the container of the worker: {path!r} was written in another one, "
            "perhaps by a worker that has ended."
        )
    if has_ended(found):
        raise NotAliveError(f"Start the worker again: {worker} has ended and left {path!r} behind.")
    allowed = found.max_age if max_age is None else max_age
    # In this form, everything is too old if the limit is not a number.
    if late := [loop for loop, age in ages.items() if not age <= allowed]:
        raise NotAliveError(
            f"Restart {worker}: {listed(late)} stood still for "
            f"{max(ages[loop] for loop in late):.1f} s, longer than the limit of {allowed:g} s."
        )
    return (
        f"The {worker} is alive: each of its loops was active within the last "
        f"{max(ages.values()):.1f} s, and the limit is {allowed:g} s."
    )


def listed(loops: list[str]) -> str:
    *others, last = [f"its {loop}" for loop in loops]
    return f"{', '.join(others)} and {last}" if others else last


def read_or_explain(path: str) -> Liveness:
    try:
        return read(path)
    except (FileNotFoundError, NotADirectoryError):
        raise NotAliveError(
            f"Start a worker with --liveness-file {path!r}: there is no such file, so none was "
            "started with it, or it has stopped."
        ) from None
    except OSError as error:
        raise NotAliveError(
            f"Let this user read {path!r}, or give the path of a liveness file: it cannot be read "
            f"({error.strerror})."
        ) from None
    except ValueError:
        raise NotAliveError(
            f"Give the path that runscheduler --liveness-file was given: {path!r} is not a file "
            "that it writes."
        ) from None


def read(path: str) -> Liveness:
    """Read a liveness file. Raise OSError, or ValueError if the content is something else."""
    with open(path, "rb", opener=open_regular) as file:
        content = file.read(MAX_FILE_BYTES)
    try:
        given = json.loads(content)
        liveness = Liveness(
            label=str(given["label"]),
            pid=int(given["pid"]),
            process_start=str(given["process_start"]),
            boot=str(given["boot"]),
            pid_namespace=str(given["pid_namespace"]),
            max_age=float(given["max_age"]),
            loops={str(loop): float(moment) for loop, moment in given["loops"].items()},
        )
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError) as error:
        raise ValueError("not a liveness file") from error
    # A number that is not positive stands for a group of processes.
    if liveness.pid <= 0 or not liveness.loops:
        raise ValueError("a liveness file names a process and its loops")
    return liveness


def open_regular(path: str, flags: int) -> int:
    """Open a regular file, without waiting for who writes to a pipe. Raise ValueError for others.

    A directory is left to open(), which says so.
    """
    # Windows has no such flag, and no pipes in directories.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(descriptor).st_mode
    if not (S_ISREG(mode) or S_ISDIR(mode)):
        os.close(descriptor)
        raise ValueError("not a regular file")
    return descriptor


def has_ended(found: Liveness) -> bool:
    """Whether the process that wrote the file is gone. It must belong to this pid namespace."""
    if sys.platform == "win32":  # where os.kill() would end it
        return False
    try:
        os.kill(found.pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        pass  # there is one, of another user
    state, start = process_state(found.pid)
    return state in ENDED_STATES or differ(start, found.process_start)


def differ(one: str, other: str) -> bool:
    """Whether two values are known and not the same."""
    return bool(one and other) and one != other


def process_state(pid: int) -> tuple[str, str]:
    """Return the state of a process and when it started, in clock ticks; "" where not known."""
    # The name of the program comes before, in parentheses, and may hold anything.
    fields = read_proc(f"{pid}/stat").rpartition(")")[2].split()
    return (fields[STATE_FIELD], fields[START_FIELD]) if len(fields) > START_FIELD else ("", "")


def boot_id() -> str:
    """Return what tells one start of the machine from the next, or "" where it is not known."""
    return read_proc("sys/kernel/random/boot_id").strip()


def pid_namespace() -> str:
    """Return what tells the processes of one container from others, or "" where it is not known."""
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    except OSError:
        return ""


def read_proc(name: str) -> str:
    try:
        with open(f"/proc/{name}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
