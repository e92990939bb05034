"""``runscheduler --reload``: a worker that is started again whenever the code changes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from pathlib import Path

from scheduled_tasks.executors.process.operating_system import die_with
from scheduled_tasks.management.autoreload_internals import CodeFiles, get_child_arguments
from scheduled_tasks.management.stop_signals import AT_ONCE, stop_signals

logger = logging.getLogger(__name__)

#: Seconds between two looks at the files.
CHECK_SECONDS = 0.5
#: How long a worker may take to end at a change before it is killed.
MAX_STOP_SECONDS = 30.0
#: The environment variable of the process that does the work, as with ``runserver``.
WORKS = "RUN_MAIN"


def works_here() -> bool:
    """Whether this process is the one that is started again; it then ends with its parent."""
    if os.environ.get(WORKS) != "true":
        return False
    die_with(os.getppid(), signal.SIGTERM)
    return True


class Reloader:
    """Runs this process's command in a child, and starts another child at each change.

    Signals that ask for an end are passed on. A child that ends by itself, such as for an error in
    the code, is started again at the next change.
    """

    def __init__(self) -> None:
        self.files = CodeFiles()
        self.stopping = False
        self.child: subprocess.Popen[bytes] | None = None

    def run(self, *, last: bool) -> int:
        """Run until a signal asks for an end; return the exit code of the last child."""
        with stop_signals(self.stop, last=last):
            while True:
                times = self.files.times()
                child = self.start()
                changed = self.wait_for_change(child, times)
                if changed is None:
                    return exit_code(child)
                logger.info("%s has changed, so the worker starts again", changed)
                end(child)

    def start(self) -> subprocess.Popen[bytes]:
        # A process group of its own: Ctrl-C in a terminal is passed on, and must not come twice.
        self.child = subprocess.Popen(  # noqa: S603 -- this command
            get_child_arguments(),
            env={**os.environ, WORKS: "true"},
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        if self.stopping:  # the signal came before there was a child
            self.child.terminate()
        return self.child

    def stop(self, number: signal.Signals) -> None:
        """Pass a signal on; to be called in its handler."""
        self.stopping = True
        if self.child is not None:
            self.child.send_signal(number)

    def wait_for_change(
        self, child: subprocess.Popen[bytes], times: dict[Path, float]
    ) -> Path | None:
        """Return the first file that differs, None if it is time to end."""
        reported = False
        while not self.stopping:
            code = wait(child)
            if code is not None and not reported and not self.stopping:
                logger.warning("the worker has ended with %s; waiting for a change", code)
                reported = True
            if changed := set(times.items()) ^ set(self.files.times().items()):
                return min(changed)[0]
        return None


def exit_code(child: subprocess.Popen[bytes]) -> int:
    """Wait for a child to end; return its exit code, as a shell gives it if a signal ended it."""
    code = child.wait()
    return code if code >= 0 else 128 - code


def wait(child: subprocess.Popen[bytes]) -> int | None:
    """Wait until the next look; return the exit code if the child has ended."""
    if child.returncode is not None:
        time.sleep(CHECK_SECONDS)
        return child.returncode
    try:
        return child.wait(CHECK_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def end(child: subprocess.Popen[bytes]) -> None:
    """Have a child give back its runs at once, and wait until nothing of it is left."""
    # The first may come before the child can heed it, and ends it then.
    for number in (signal.SIGTERM, *AT_ONCE):
        child.send_signal(number)
    try:
        child.wait(MAX_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
