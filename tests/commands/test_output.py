"""Commands whose output has no reader, no room, or was closed: their work and exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from scheduled_tasks.models import Execution, ExecutionLog, Worker
from tests.concurrency.runs import make_task_of, queue_a_run, wait_for
from tests.support.processes import LONG, ROOT, environment_of, options, wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.any_database,
    pytest.mark.skipif(not Path("/dev/full").exists(), reason="it needs a device that is full"),
]


def code_of(command: str, redirected: str) -> tuple[int, str]:
    """Run a command in a shell; return its exit code and what reached standard error."""
    line = f"set -o pipefail; {sys.executable} manage.py {command} {redirected}"
    ran = subprocess.run(
        ["bash", "-c", line],
        cwd=ROOT,
        env=environment_of(TEST_OPTIONS=options()),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert "BrokenPipe" not in ran.stderr, ran.stderr
    return ran.returncode, ran.stderr


@pytest.mark.parametrize(
    ("handler", "redirected", "code"),
    [
        ("answer", "| true", 0),
        ("fail", "2>&1 | true", 1),
        pytest.param("answer", ">&-", 0, marks=pytest.mark.long),
        ("fail", "<&- >&- 2>&-", 1),
    ],
)
def test_a_manual_run_needs_no_reader(handler: str, redirected: str, code: int) -> None:
    make_task_of(handler)
    assert code_of(f"runtask jobs.{handler}", redirected)[0] == code
    assert Execution.objects.get().status == ("failed" if code else "success")


@pytest.mark.parametrize("command", ["runtask jobs.answer", "listtasks"])
def test_a_full_disk_fails_a_command(command: str) -> None:
    make_task_of("answer")
    code, error = code_of(command, ">/dev/full")
    assert code == 1
    assert error.endswith("The output could not be written: No space left on device.\n")


@pytest.mark.parametrize(
    ("executor", "redirected"),
    [
        ("process", "2>&1 | head -1"),
        ("thread", ">&- 2>&-"),
        pytest.param("process", "2>/dev/full", marks=pytest.mark.long),
        pytest.param("process", ">&- 2>&-", marks=pytest.mark.long),
    ],
)
def test_a_worker_goes_on_without_its_log(executor: str, redirected: str) -> None:
    line = f"set -o pipefail; {sys.executable} manage.py runscheduler --no-sync {redirected}"
    environment = environment_of(TEST_OPTIONS=options(EXECUTOR=executor))
    with subprocess.Popen(
        ["bash", "-c", line], cwd=ROOT, env=environment, process_group=0
    ) as shell:
        try:
            wait_until(Worker.objects.filter(state="running").exists, within=LONG)
            wait_for(queue_a_run("tell", {"lines": 50}), "partial")
            os.kill(Worker.objects.get().pid, signal.SIGTERM)
            assert shell.wait(LONG) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert ExecutionLog.objects.filter(message__startswith="line ").count() == 50
