"""The system refuses files, threads, processes: runs wait, or fail with the reason."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.concurrency.runs import fresh, queue_a_run, wait_for, wait_for_lines
from tests.environment.surroundings import (
    EXECUTORS,
    WITHOUT_RIGHT_TO_KILL,
    after,
    control_group,
    needs_setpriv,
    worker,
)
from tests.support.processes import LONG, options, wait_until, written

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

MEGABYTE = 1 << 20
#: In bytes, for version 1 of control groups and for version 2.
MEMORY = (
    {"memory__limit_in_bytes": 400 * MEGABYTE}
    if Path("/sys/fs/cgroup/memory").is_dir()
    else {"memory__max": 400 * MEGABYTE, "memory__swap__max": 0}
)
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


def test_few_open_files_delay_runs(tmp_path: Path) -> None:
    """The fork server has files for two or three runs, whose memory it measures, too."""
    marks, release = tmp_path / "marks", tmp_path / "release"
    runs = [queue_a_run("hold", name=f"hold-{n}", memory_limit_mb=500) for n in range(6)]
    with worker(
        wrapper=after("ulimit -n 24"), MARK_FILE=str(marks), RELEASE_FILE=str(release)
    ) as few:
        wait_until(lambda: "trying again: [Errno 24]" in few.output, within=LONG)
        assert len(written(marks)) < len(runs)
        release.touch()
        wait_until(lambda: all(fresh(run).finished for run in runs), within=LONG)
        output = few.stop()
    assert {(run.status, run.attempt, run.losses) for run in runs} == {("success", 1, 0)}
    assert "the fork server has ended" not in output


@pytest.mark.long
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux, to limit a process")
def test_a_run_without_a_thread_waits_or_fails(tmp_path: Path) -> None:
    """Each thread has a stack of 64 MB here, and the worker may have 32 MB more than it has."""
    marks, release = tmp_path / "marks", tmp_path / "release"
    with worker(
        wrapper=after("ulimit -s 65536"),
        TEST_OPTIONS=options(EXECUTOR="thread"),
        MARK_FILE=str(marks),
        RELEASE_FILE=str(release),
    ) as full:
        # Its other threads have begun when it has made a run.
        wait_for(queue_a_run("answer", name="first", executor="process"), "success")
        with no_more_threads(full.process.pid):
            refused = queue_a_run("answer", name="refused")
            wait_for(refused, "failed")
        held = queue_a_run("hold")
        wait_for_lines(marks, 1)
        with no_more_threads(full.process.pid):
            waits = queue_a_run("answer", name="waits")
            wait_until(lambda: full.output.count("can't start new thread") == 2, within=LONG)
            release.touch()
            wait_until(lambda: fresh(held).succeeded and fresh(waits).succeeded, within=LONG)
        full.stop()
    assert refused.error == "The run did not begin: no thread could be started for it."
    assert refused.error_category == "crash"
    assert waits.attempt == 1


@contextmanager
def no_more_threads(pid: int) -> Iterator[None]:
    most = psutil.Process(pid).memory_info().vms + 32 * MEGABYTE
    resource.prlimit(pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, UNLIMITED)


@pytest.mark.long
def test_a_run_that_fills_the_container_dies_alone(tmp_path: Path) -> None:
    """The kernel kills the run before the worker, and it is the run that is told why."""
    marks, release = tmp_path / "marks", tmp_path / "release"
    neighbours = [queue_a_run("hold", name=f"hold-{name}", executor=name) for name in EXECUTORS]
    with (
        control_group(**MEMORY) as wrapper,
        worker(wrapper=wrapper, MARK_FILE=str(marks), RELEASE_FILE=str(release)) as contained,
    ):
        wait_for_lines(marks, len(neighbours))
        hog = queue_a_run("hog", {"megabytes": 1000})
        wait_for(hog, "failed")
        release.touch()
        wait_until(lambda: all(fresh(run).finished for run in neighbours), within=LONG)
        contained.stop()
    assert (hog.error_category, hog.attempt) == ("memory", 1)
    assert hog.error == "Killed by the kernel: the machine was out of memory."
    assert {(run.status, run.attempt, run.losses) for run in neighbours} == {("success", 1, 0)}


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Return a file for the numbers of processes that are killed at the end."""
    path = tmp_path / "pids"
    yield path
    for pid in map(int, written(path)):
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


@needs_setpriv
@pytest.mark.long
def test_a_process_of_another_user_harms_no_run(tmp_path: Path, pids: Path) -> None:
    """A run leaves a process behind that the fork server may not kill."""
    marks, release = tmp_path / "marks", tmp_path / "release"
    neighbour = queue_a_run("hold")
    with worker(
        wrapper=WITHOUT_RIGHT_TO_KILL, MARK_FILE=str(marks), RELEASE_FILE=str(release)
    ) as powerless:
        wait_for_lines(marks, 1)
        run = queue_a_run("leave_process_of_other_user", {"path": str(pids)})
        wait_for(run, "success")
        release.touch()
        wait_for(neighbour, "success")
        output = powerless.stop()
    [left] = written(pids)
    assert (run.attempt, run.losses, neighbour.attempt, neighbour.losses) == (1, 0, 1, 0)
    assert f"a run has left process {left} behind, which runs as another user" in output
