"""A manual run in progress: its messages are recorded, and it can be cancelled."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from scheduled_tasks.lifecycle import stopping
from scheduled_tasks.models import Execution
from tests.concurrency.runs import fresh, make_task_of
from tests.support.processes import LONG, manage, options, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@contextmanager
def saying_all(
    release: Path, handler: str = "say_all_and_wait", **task: Any
) -> Iterator[tuple[subprocess.Popen[str], Execution]]:
    """Run a task that reports everything it can, until a file appears."""
    made = make_task_of(handler, payload={"release": str(release)}, **task)
    process = manage("runtask", made.name, TEST_OPTIONS=options())
    try:
        wait_until(lambda: Execution.objects.filter(checkpoint__isnull=False).exists(), within=LONG)
        yield process, Execution.objects.get()
    finally:
        process.kill()
        process.communicate(timeout=LONG)


def logged(execution: Execution) -> list[str]:
    return list(execution.log_lines.values_list("message", flat=True))


def test_logs_and_progress_are_written_during_the_run(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with saying_all(release) as (process, execution):
        assert execution.status == "running"
        assert execution.checkpoint == {"page": 1}
        assert execution.progress["text"] == "a quarter"
        assert execution.processed_count == 3
        assert logged(execution) == ["begun", "printed"]
        release.touch()
        output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0, output
    execution.refresh_from_db()
    assert (execution.status, execution.result) == ("success", "released")
    assert logged(execution) == ["begun", "printed"], "written once"


def test_it_is_cancelled_like_any_other(tmp_path: Path) -> None:
    with saying_all(tmp_path / "release") as (process, execution):
        stopping.cancel([execution.pk], timezone.now(), reason="No longer wanted.")
        output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 1, output
    execution.refresh_from_db()
    assert (execution.status, execution.reason) == ("cancelled", "No longer wanted.")


@pytest.mark.parametrize("handler", ["say_all_and_wait", "say_all_and_await"])
def test_ctrl_c_cancels_it(tmp_path: Path, handler: str) -> None:
    with saying_all(tmp_path / "release", handler) as (process, execution):
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=LONG)
    assert process.returncode == 1, output
    execution.refresh_from_db()
    assert (execution.status, execution.reason) == ("cancelled", "Interrupted from the keyboard.")
    assert (execution.error, execution.error_category) == ("", "")
    assert f"in {handler}" in execution.traceback


def test_a_worker_continues_a_killed_run(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with saying_all(release) as (process, execution):
        process.send_signal(signal.SIGKILL)
        release.touch()
        with running():
            wait_until(lambda: fresh(execution).finished, within=LONG)
    assert (execution.status, execution.attempt) == ("success", 2)
    assert logged(execution) == ["begun", "printed"] * 2
    assert execution.processed_count == 6, "the second attempt went on counting"
