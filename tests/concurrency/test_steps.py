"""Steps in one transaction with their checkpoints, of runs that are killed in the middle."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from scheduled_tasks.models import Execution, Lock, OnceKey
from scheduled_tasks.worker.scanner import SCAN_LOCK
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines
from tests.support.processes import LONG, options, running, wait_until, written

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def pids(tmp_path: Path) -> Path:
    """Return the file into which handlers write the numbers of their processes."""
    return tmp_path / "pids"


def check_each_step_once(execution: Execution) -> None:
    """Hold that the third attempt has finished what two have left in the middle of a step."""
    assert (execution.status, execution.attempt) == ("success", 3)
    assert (execution.result, execution.checkpoint) == (6, 10)
    taken = [name.rpartition(" ")[0] for name in Group.objects.values_list("name", flat=True)]
    assert sorted(taken) == [f"step {number}" for number in range(10)]


def test_a_killed_run_repeats_and_skips_no_step(pids: Path) -> None:
    execution = queue_a_run("take_steps", {"path": str(pids)}, max_retries=2)
    with running():
        for attempt in (1, 2):
            wait_for_lines(pids, attempt)
            os.kill(int(written(pids)[-1]), signal.SIGKILL)
        wait_until(lambda: fresh(execution).finished, within=LONG)
    check_each_step_once(execution)
    assert (execution.failures, execution.losses) == (2, 0)


def test_a_killed_worker_repeats_and_skips_no_step(pids: Path) -> None:
    execution = queue_a_run("take_steps", {"path": str(pids)})
    quick = options(LEASE=2)
    for attempt in (1, 2):
        with running(TEST_OPTIONS=quick) as worker:
            wait_for_lines(pids, attempt)
            worker.kill()
    with running(TEST_OPTIONS=quick):
        wait_until(lambda: fresh(execution).finished, within=LONG)
    check_each_step_once(execution)
    assert (execution.failures, execution.losses) == (0, 0)


def test_an_async_handler_keeps_everything_after_a_kill(pids: Path) -> None:
    execution = queue_a_run("do_async", {"path": str(pids)}, max_retries=1)
    with running(TEST_OPTIONS=options(LEASE=2)):
        wait_for_lines(pids, 1)
        os.kill(int(written(pids)[0]), signal.SIGKILL)
        wait_until(lambda: fresh(execution).finished, within=LONG)
    assert (execution.status, execution.attempt) == ("success", 2)
    assert execution.result == [[1], True, [2]]
    assert OnceKey.objects.get().final
    assert not Lock.objects.exclude(name=SCAN_LOCK).exists()
