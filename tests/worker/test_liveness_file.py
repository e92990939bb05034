"""The file that tells probes whether a worker is alive: what it holds, and when it is refused."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from scheduled_tasks import probe
from scheduled_tasks.models import Worker
from scheduled_tasks.worker.liveness_file import LivenessFile, LivenessFileError
from scheduled_tasks.worker.scheduler import Scheduler
from scheduled_tasks.worker.watchdog import MAX_ROUND_SECONDS, Watchdog
from tests.support.processes import LONG, wait_until

MakeScheduler = Callable[..., Scheduler]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "worker"


@pytest.fixture
def watchdog() -> Watchdog:
    """Return the watchdog of a worker that works."""
    watchdog = Watchdog()
    watchdog.rounds.begin()
    watchdog.beats.begin()
    return watchdog


@pytest.fixture
def file(path: Path, watchdog: Watchdog) -> Iterator[LivenessFile]:
    """Return a file that is not written yet."""
    file = LivenessFile(str(path), "blue", watchdog)
    yield file
    file.stop()


def test_it_says_who_and_when_loops_were_active(path: Path, file: LivenessFile) -> None:
    before = monotonic()
    file.loops["heartbeat"].begin()
    file.start()
    found = probe.read(str(path))
    assert (found.label, found.pid, found.max_age) == ("blue", os.getpid(), 60)
    assert found.loops["main loop"] <= before <= found.loops["heartbeat"] <= monotonic()
    assert "is alive" in probe.describe(str(path))


@pytest.mark.parametrize(("lease", "expected"), [(0.5, 6), (60, 60), (600, 600)])
def test_it_may_be_a_lease_old(
    file: LivenessFile, settings: Any, lease: float, expected: float
) -> None:
    settings.SCHEDULED_TASKS = {"LEASE": lease, "HEARTBEAT_INTERVAL": 0.1}
    assert file.max_age == expected


def test_a_worker_that_starts_has_longer(path: Path) -> None:
    """Handlers are loaded in one round, before there is a heartbeat."""
    starting = Watchdog()
    starting.rounds.begin()
    file = LivenessFile(str(path), "blue", starting)
    assert file.max_age == MAX_ROUND_SECONDS
    assert set(file.content().loops) == {"main loop"}
    starting.beats.begin()
    assert file.max_age == 60


def test_each_write_replaces_it_as_a_whole(path: Path, file: LivenessFile) -> None:
    file.write()
    with path.open() as before:
        file.write()
        json.load(before)  # what a probe has opened stays as it is
        assert os.fstat(before.fileno()).st_ino != path.stat().st_ino
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_writer_left_is_replaced(path: Path, file: LivenessFile) -> None:
    path.with_name(".worker.new").write_text("{")
    file.start()
    assert probe.read(str(path)).label == "blue"


def test_no_link_leads_it_to_another_file(path: Path, file: LivenessFile, tmp_path: Path) -> None:
    (other := tmp_path / "other").write_text("precious")
    path.with_name(".worker.new").symlink_to(other)
    file.start()
    assert other.read_text() == "precious"
    assert not path.is_symlink()


def test_the_end_removes_it(path: Path, file: LivenessFile) -> None:
    file.start()
    file.stop()
    assert list(path.parent.iterdir()) == []


def test_the_thread_keeps_it_fresh(path: Path, file: LivenessFile, settings: Any) -> None:
    settings.SCHEDULED_TASKS = {"LEASE": 1, "HEARTBEAT_INTERVAL": 0.1}
    file.start()
    file.loops["heartbeat"].begin()
    active_at = file.loops["heartbeat"].active_at
    wait_until(lambda: probe.read(str(path)).loops["heartbeat"] == active_at, within=LONG)
    path.unlink()  # as what cleans directories of temporary files does
    wait_until(path.exists, within=LONG)


def test_a_failing_write_is_logged_once(
    path: Path, file: LivenessFile, caplog: pytest.LogCaptureFixture
) -> None:
    file.write()
    path.unlink()
    path.mkdir()
    for _ in range(3):
        file._try_to_write()
    [record] = caplog.records
    assert "the liveness file cannot be written: " in record.getMessage()
    assert list(path.parent.iterdir()) == [path]
    path.rmdir()
    file._try_to_write()
    assert probe.read(str(path)).label == "blue"


def refused(file: LivenessFile) -> str:
    with pytest.raises(LivenessFileError) as refusal:
        file.start()
    return str(refusal.value)


@pytest.mark.parametrize("name", ["missing/worker", "", "x" * 300])
def test_a_path_that_cannot_be_written(tmp_path: Path, watchdog: Watchdog, name: str) -> None:
    said = refused(LivenessFile(str(tmp_path / name), "blue", watchdog))
    assert "cannot be written (" in said
    assert "Choose a path in a directory that this user may write to" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["DEBUG = True\n", "{}"])
def test_no_other_file_is_overwritten(path: Path, file: LivenessFile, content: str) -> None:
    path.write_text(content)
    assert "exists and is not a liveness file" in refused(file)
    assert path.read_text() == content


def test_devices_are_not_replaced(watchdog: Watchdog) -> None:
    assert "'/dev/null' exists and" in refused(LivenessFile(os.devnull, "blue", watchdog))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_pipes_are_neither_waited_for_nor_replaced(path: Path, file: LivenessFile) -> None:
    os.mkfifo(path)
    assert "exists and is not a liveness file" in refused(file)
    assert path.is_fifo()


def test_an_empty_file_is_replaced(path: Path, file: LivenessFile) -> None:
    path.touch()
    file.start()
    assert probe.read(str(path)).label == "blue"


def other_worker(path: Path, **changed: Any) -> subprocess.Popen[bytes]:
    """Start a process; write a file in its name."""
    process = subprocess.Popen(["sleep", "600"])
    watchdog = Watchdog()
    watchdog.rounds.begin()
    mine = LivenessFile(str(path), "red", watchdog).content()
    start = probe.process_state(process.pid)[1]
    its = mine._replace(pid=process.pid, process_start=start)
    path.write_text(json.dumps(its._replace(**changed)._asdict()))
    return process


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("changed", [{}, {"boot": "another"}, {"pid_namespace": "another"}])
def test_only_living_workers_keep_their_files(
    path: Path, file: LivenessFile, changed: dict[str, str]
) -> None:
    """Where it is not certain that one lives, the file was left over."""
    with other_worker(path, **changed) as other:
        if changed:
            file.start()
        else:
            assert f"worker 'red' (pid {other.pid}), which is running" in refused(file)
            assert probe.read(str(path)).label == "red"
        other.kill()
    file = LivenessFile(str(path), "blue", Watchdog())
    file.loops["main loop"].begin()
    file.start()
    file.stop()


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_the_command_refuses_with_one_sentence(tmp_path: Path) -> None:
    wrong = tmp_path / "missing" / "worker"
    with pytest.raises(CommandError, match=r"^The liveness file '.*' cannot be written"):
        call_command("runscheduler", "--once", "--no-sync", f"--liveness-file={wrong}")
    assert not Worker.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_a_relative_path_is_meant_at_the_start(
    scheduler: MakeScheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler in a thread may change the working directory."""
    monkeypatch.chdir(tmp_path)
    worker = scheduler(liveness_file="worker")
    worker.start_liveness_file()
    monkeypatch.chdir("/")
    assert worker.liveness_file is not None
    worker.liveness_file.write()
    assert [path.name for path in tmp_path.iterdir()] == ["worker"]
    worker.liveness_file.stop()


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_once_writes_it_and_removes_it(
    scheduler: MakeScheduler, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = scheduler(liveness_file=str(path))
    said: list[str] = []
    monkeypatch.setattr(worker, "shut_down", lambda: said.append(probe.describe(str(path))))
    worker.run_once()
    assert ["is alive" in sentence for sentence in said] == [True]
    assert not path.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.any_database
def test_waiting_and_statements_show_activity(
    scheduler: MakeScheduler, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait for the database may be longer than a lease, and so may a long round."""
    settings.SCHEDULED_TASKS = {"LEASE": 0.6, "HEARTBEAT_INTERVAL": 0.1}
    worker = scheduler()
    worker.engine.database_answers = False
    rounds = worker.engine.watchdog.rounds
    moments: list[float | None] = []
    sleep = worker.engine.waiter.sleep

    def record(seconds: float, **until: Any) -> bool:
        moments.append(rounds.active_at)
        worker.engine.database_answers = len(moments) >= 3
        assert seconds <= 0.1
        return sleep(seconds, **until)

    monkeypatch.setattr(worker.engine.waiter, "sleep", record)
    worker.wait_for_database(LONG)
    assert len(set(moments)) == len(moments) == 3
    worker.sleep(LONG)
    with worker.engine.watchdog.watching(), connection.cursor() as cursor:
        before = rounds.active_at
        cursor.execute("SELECT 1")
    assert rounds.active_at is not None
    assert before is not None
    assert rounds.active_at > before
