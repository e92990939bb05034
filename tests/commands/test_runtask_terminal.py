"""A manual run on a terminal: a progress bar with log lines above it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest

from tests.concurrency.runs import make_task_of
from tests.support.processes import LONG, ROOT, environment_of

pty = pytest.importorskip("pty", reason="terminals of this kind are Unix's")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def shown_on_terminal(*arguments: str) -> str:
    """Run a management command on a terminal with 100 columns and return its output."""
    import fcntl  # noqa: PLC0415 -- where there is pty there is this
    import termios  # noqa: PLC0415

    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment_of(TERM="xterm"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # what Linux says when nobody has the other end any more
        pass
    finally:
        os.close(ours)
    assert process.wait(LONG) == 0, shown
    return shown.decode()


def test_progress_is_a_bar_below_the_lines() -> None:
    task = make_task_of("show_progress")
    shown = shown_on_terminal("runtask", task.name)
    assert "33%|" in shown
    assert "1/3" in shown
    assert ", pages]" in shown
    for number in range(3):
        assert f"INFO page {number} task={task.name} execution=" in shown
    assert '"read"' in shown


def test_verbosity_zero_shows_no_bar() -> None:
    task = make_task_of("show_progress")
    assert "%|" not in shown_on_terminal("runtask", task.name, "--verbosity=0")
