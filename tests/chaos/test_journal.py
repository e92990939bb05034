"""What handlers write down: who runs beside whom is for the kernel to say."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scheduled_tasks import TaskContext
from tests.chaos.journal import (
    BEGUN,
    ENDED,
    FOLDER,
    LOCKS,
    RETURNED,
    STARTED,
    WORKER,
    attended,
    leave_behind,
    lines,
    lock_of,
)
from tests.support.processes import ROOT

HOLD = """
from tests.chaos.journal import lock_of
with lock_of("t"):
    print("held", flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the journal, where this process is worker a1."""
    (tmp_path / LOCKS).mkdir()
    monkeypatch.setenv(FOLDER, str(tmp_path))
    monkeypatch.setenv(WORKER, "a1")
    return tmp_path


def context() -> TaskContext:
    return TaskContext(
        task_name="t",
        execution_id=7,
        attempt=1,
        scheduled_for=datetime.now(UTC),
        trigger="schedule",
    )


def test_it_tells_how_attempts_begin_and_end(folder: Path) -> None:
    with attended(context()):
        pass
    with pytest.raises(KeyError), attended(context()):
        raise KeyError
    found = [(line.execution, line.what, line.value, line.beside) for line in lines(folder)]
    assert found == [
        (7, BEGUN, None, None),
        (7, ENDED, RETURNED, None),
        (7, BEGUN, None, None),
        (7, ENDED, "KeyError", None),
    ]


def test_a_run_beside_another_in_process_is_noticed(folder: Path) -> None:
    with attended(context()), attended(context()):
        pass
    assert [line.beside for line in lines(folder) if line.what == BEGUN] == [None, "a1"]


def test_another_process_is_noticed_until_it_is_dead() -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=ROOT,
        env={**os.environ, WORKER: "b1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        other.stdout.readline()
        with lock_of("t") as beside:
            assert beside == "b1"
        other.kill()
        other.wait()
        with lock_of("t") as beside:
            assert beside is None


def test_leftovers_of_an_attempt_are_noticed_until_dead(folder: Path) -> None:
    left = [leave_behind(context(), ["sleep", "600"], apart=apart) for apart in (True, False)]
    for process in left:
        process.kill()
        process.wait()
    leave_behind(context(), ["true"], apart=False).wait()
    found = [(line.what, line.beside) for line in lines(folder)]
    assert found == [(STARTED, None), (STARTED, "a1"), (STARTED, None)]


def test_a_killed_holder_is_not_named(folder: Path) -> None:
    (folder / LOCKS / "t").write_text("killed")
    with lock_of("t") as first, lock_of("t") as second:
        assert (first, second) == (None, "a1")
