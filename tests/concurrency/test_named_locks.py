"""Locks by name that processes have in turn, also when one of them is killed or frozen."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from django.contrib.auth.models import Group

from scheduled_tasks import lock
from scheduled_tasks.exceptions import LockTimeout
from scheduled_tasks.lifecycle import stopping
from scheduled_tasks.models import Lock
from tests.concurrency.contests import Counting
from tests.concurrency.racer import racers
from tests.concurrency.runs import fresh, queue_a_run, wait_for_lines
from tests.concurrency.test_worker_death import freeze
from tests.support.processes import LONG, ROOT, environment_of, options, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

PROCESSES, TIMES = 3, 10
SHORT = 1.5
#: Holds a lock until told otherwise by a line, and says what came of it.
HOLDER = """
import sys, django
django.setup()
from scheduled_tasks import LockLost, lock
try:
    with lock("import"):
        print("held", flush=True)
        sys.stdin.readline()
    print("given back", flush=True)
except LockLost as error:
    print(f"lost: {error}", flush=True)
"""


@contextmanager
def holder() -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds the lock, from when it has it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=ROOT,
        env=environment_of(TEST_OPTIONS=options(LEASE=SHORT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LONG)


def is_free() -> bool:
    try:
        with lock("import", timeout=0):
            return True
    except LockTimeout:
        return False


def test_those_who_have_it_exclude_each_other() -> None:
    Group.objects.create(name="0")
    with racers(PROCESSES, environment_of(), moves="tests.concurrency.contests") as processes:
        ends = processes.race(*(("count", Counting(), TIMES, 0.0) for _ in range(PROCESSES)))
    assert [error for error, _ in ends if error] == []
    spans = sorted(span for _, counting in ends for span in counting.held)
    assert len(spans) == PROCESSES * TIMES
    for (_, end), (begin, _) in pairwise(spans):
        assert end <= begin
    assert Group.objects.get().name == str(PROCESSES * TIMES)
    assert not Lock.objects.exists()


def test_a_killed_holder_is_followed_after_its_lease() -> None:
    with holder() as killed:
        assert not is_free()
        killed.kill()
        killed.wait(LONG)
        assert Lock.objects.filter(name="import").exists()
        with lock("import", timeout=LONG) as held:
            held.check()
    assert not Lock.objects.exists()


@pytest.mark.any_database
@pytest.mark.parametrize("taken", ["at the end", "and given back"])
def test_a_holder_frozen_beyond_its_lease_loses_it(taken: str) -> None:
    with holder() as frozen:
        freeze(frozen)
        with lock("import", timeout=LONG) as held:
            if taken == "at the end":
                thaw(frozen)
                assert told_at_the_end(frozen).startswith("lost: The lock 'import' is lost")
            held.check()
        if taken == "and given back":
            thaw(frozen)
            assert told_at_the_end(frozen).startswith("lost: The lock 'import' is lost")


@pytest.mark.any_database
def test_who_is_frozen_for_a_moment_keeps_it() -> None:
    with holder() as frozen:
        freeze(frozen)
        thaw(frozen)
        assert told_at_the_end(frozen) == "given back"
    assert not Lock.objects.exists()


def test_a_run_waiting_for_it_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    in_process = queue_a_run("wait_for_lock", {"path": str(path)}, name="in-process")
    in_thread = queue_a_run(
        "wait_for_lock", {"path": str(path)}, name="in-thread", executor="thread"
    )
    with lock("import"), running():
        wait_for_lines(path, 2)
        for execution in (in_process, in_thread):
            stopping.cancel([execution.pk], execution.created_at, reason="Enough.")
        wait_until(lambda: fresh(in_process).finished, within=LONG)
        wait_until(lambda: fresh(in_thread).finished, within=LONG)
    assert {in_process.status, in_thread.status} == {"cancelled"}
    assert not Lock.objects.filter(name="import").exists()


def thaw(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGCONT)


def told_at_the_end(process: subprocess.Popen[str]) -> str:
    """Let a holder end its block and return what came of it."""
    output, _ = process.communicate("\n", timeout=LONG)
    return output.strip()
