"""What the probe says of real workers that are frozen, hang, stop, or have no database."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from scheduled_tasks.models import Worker
from tests.chaos.proxy import Proxy
from tests.concurrency.runs import fresh, queue_a_run, wait_for, wait_for_lines
from tests.support.database_proxy import outage, proxy_before_the_database, url_through
from tests.support.processes import IN_THREADS, LONG, ended, options, running, started, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

#: With this limit, what goes red does so soon. Workers here are active several times a second.
SOON = "--max-age=2"
#: The limit that a worker writes where its lease is shorter, in seconds.
OWN_LIMIT = 6
#: The lease is twelve checks; the file is written at each.
SECONDS_BETWEEN_WRITES = OWN_LIMIT / 12
#: Each look is a process.
SECONDS_BETWEEN_LOOKS = 0.25


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the liveness file."""
    return tmp_path / "worker"


def look(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the probe as an orchestrator does."""
    return subprocess.run(
        [sys.executable, "-S", "-m", "scheduled_tasks.probe", str(path), *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )


def alive(path: Path, *options: str) -> bool:
    ran = look(path, *options)
    assert (ran.returncode in (0, 1), ran.stderr) == (True, "")
    return ran.returncode == 0


def wait_until_alive(path: Path, *options: str) -> None:
    wait_until(lambda: alive(path, *options), within=LONG, pause=SECONDS_BETWEEN_LOOKS)


def wait_until_still(path: Path, loops: str, *options: str) -> None:
    """Wait until the probe says that these loops stand still, and no others."""
    said = f": its {loops} stood still for "
    wait_until(
        lambda: said in look(path, *options).stdout, within=LONG, pause=SECONDS_BETWEEN_LOOKS
    )
    assert not alive(path, *options)


def stop(worker: subprocess.Popen[str]) -> str:
    """Stop a worker cleanly; return its output."""
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)
    assert code == 0, output
    return output


@pytest.mark.any_database
def test_a_frozen_worker_is_red_until_it_thaws(path: Path) -> None:
    with running(f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS) as worker:
        wait_until(lambda: "scan" in path.read_text(), within=LONG)  # which begins last
        wait_until_alive(path, SOON)
        worker.send_signal(signal.SIGSTOP)
        wait_until_still(path, "main loop, its heartbeat and its scan", SOON)
        worker.send_signal(signal.SIGCONT)
        wait_until_alive(path, SOON)
        stop(worker)
    assert "there is no such file" in look(path).stdout
    assert list(path.parent.iterdir()) == []


@pytest.mark.any_database
@pytest.mark.parametrize(
    "loop",
    ["main loop", *(pytest.param(loop, marks=pytest.mark.long) for loop in ("heartbeat", "scan"))],
)
def test_a_loop_that_hangs_is_red(path: Path, tmp_path: Path, loop: str) -> None:
    """A receiver of a signal hangs in it; the others go on."""
    (hang := tmp_path / loop).touch()
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.support.hanging_settings",
        "HANG_FILES": str(tmp_path),
        "TEST_OPTIONS": options(LEASE=12, EXECUTOR="thread"),
    }
    limit = "--max-age=5"  # with this lease, an idle loop is active every two seconds
    with running(f"--liveness-file={path}", **environment) as worker:
        execution = queue_a_run("answer")
        wait_until(lambda: fresh(execution).finished, within=LONG)
        wait_until_still(path, loop, limit)
        hang.unlink()
        wait_until_alive(path, limit)
        stop(worker)


@pytest.mark.any_database
def test_a_killed_worker_is_red_at_once(path: Path) -> None:
    with running(
        f"--liveness-file={path}", TEST_OPTIONS=options(LEASE=600, EXECUTOR="thread")
    ) as worker:
        wait_until_alive(path)
        worker.kill()
        worker.wait(LONG)
        assert f"(pid {worker.pid}) has ended and left" in look(path).stdout
    with running(
        f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS
    ) as worker:  # what is left over is replaced
        wait_until_alive(path)
        stop(worker)


@pytest.mark.any_database
def test_a_worker_that_waits_for_runs_is_alive(path: Path, tmp_path: Path) -> None:
    """A stopping worker makes rounds for longer than its limit."""
    release, marks = tmp_path / "release", tmp_path / "marks"
    environment = {"RELEASE_FILE": str(release), "MARK_FILE": str(marks)}
    queue_a_run("hold")
    with running(f"--liveness-file={path}", "--shutdown-timeout=600", **environment) as worker:
        wait_for_lines(marks, 1)
        worker.send_signal(signal.SIGTERM)
        wait_until(lambda: Worker.objects.filter(state=Worker.State.STOPPING).exists(), within=LONG)
        stays_alive(path, seconds=OWN_LIMIT + 1)
        release.touch()
        code, output = ended(worker)
    assert code == 0, output
    assert not path.exists()


@pytest.mark.any_database
def test_two_workers_never_share_a_file(path: Path) -> None:
    with running(f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS) as worker:
        wait_until_alive(path)
        with running(f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS) as other:
            code, output = ended(other)
        assert code == 1
        assert f"(pid {worker.pid}), which is running. Give each worker a file" in output
        wait_until_alive(path)
        stop(worker)


@pytest.mark.any_database
@pytest.mark.long
def test_busy_handlers_in_threads_stay_green(path: Path) -> None:
    runs = [queue_a_run("spin", {"seconds": 10}, name=f"spin-{number}") for number in range(3)]
    with running(f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS) as worker:
        wait_for(runs[-1], "running")
        stays_alive(path, seconds=OWN_LIMIT + 2)
        assert {fresh(run).status for run in runs} == {"running"}
        wait_until(lambda: all(fresh(run).finished for run in runs), within=LONG)
        stop(worker)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is always there.")
    with proxy_before_the_database() as proxy:
        yield proxy


def stays_alive(path: Path, *options: str, seconds: float) -> None:
    """Look for longer than the limit: without rounds, the worker would go red meanwhile."""
    end = time.monotonic() + seconds

    def over() -> bool:
        assert alive(path, *options), look(path, *options).stdout
        return time.monotonic() > end

    wait_until(over, within=LONG, pause=SECONDS_BETWEEN_WRITES)


def test_an_outage_from_the_start_stays_green(proxy: Proxy, path: Path) -> None:
    """The limit is longer until the worker has begun; this one is the usual limit."""
    with (
        outage(proxy),
        started(
            "runscheduler",
            "--no-sync",
            f"--liveness-file={path}",
            TEST_OPTIONS=IN_THREADS,
            DATABASE_URL=url_through(proxy),
        ) as worker,
    ):
        wait_until_alive(path)
        stays_alive(path, f"--max-age={OWN_LIMIT}", seconds=OWN_LIMIT + 1)
        stop(worker)
    assert not path.exists()


def test_a_worker_whose_database_is_away_is_alive(proxy: Proxy, path: Path) -> None:
    with running(
        f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS, DATABASE_URL=url_through(proxy)
    ) as worker:
        wait_until_alive(path)
        with outage(proxy):
            stays_alive(path, seconds=OWN_LIMIT + 2)
        wait_until_alive(path)
        output = stop(worker)
    assert "database error, trying again" in output


@pytest.mark.long
def test_a_worker_whose_database_is_silent_is_alive(proxy: Proxy, path: Path) -> None:
    with running(
        f"--liveness-file={path}", TEST_OPTIONS=IN_THREADS, DATABASE_URL=url_through(proxy)
    ) as worker:
        wait_until_alive(path)
        proxy.hold()
        stays_alive(path, seconds=3 * OWN_LIMIT)
        proxy.let_go()
        output = stop(worker)
    assert "connection cut" in output
