"""A thread that outlives its timeout and its grace: its worker lets the others end, and ends."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from scheduled_tasks.models import Execution, Task, Worker
from tests.concurrency.runs import fresh, queue_a_run
from tests.support.processes import LONG, options, running, wait_until, written
from tests.support.tracing import untraced

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]

GRACE = 1.0
CLAIMS_NO_MORE = "its thread cannot be killed, so this worker claims no more"
STILL_RUNNING = "Timed out after 1 s. Still running."
GIVEN_UP = (
    "Timed out after 1 s and did not stop within 1 s. A thread cannot be "
    "killed, so the worker exited."
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of workers that run in threads, and of jobs.hold."""
    return {
        "TEST_OPTIONS": options(EXECUTOR="thread", KILL_GRACE=GRACE),
        "MARK_FILE": str(tmp_path / "marks"),
        "RELEASE_FILE": str(tmp_path / "release"),
    }


@untraced
def test_a_worn_out_worker_ends_after_its_runs(tmp_path: Path, environment: dict[str, str]) -> None:
    pids, said = tmp_path / "pids", tmp_path / "said"
    stuck = queue_a_run("write_pid", payload={"path": str(pids)}, timeout=1)
    held = queue_a_run("hold")
    Task(
        name="every-second",
        handler="jobs.answer",
        schedule="every 1 second",
        overlap_policy="buffer_all",
    ).save()
    piled_up = Execution.objects.queued().filter(task__name="every-second")
    with said.open("w") as out, running("--concurrency=5", output=out, **environment) as worker:
        wait_until(lambda: fresh(stuck).reason == STILL_RUNNING, within=LONG)
        assert (stuck.status, stuck.finished_at) == ("running", None)
        wait_until(lambda: CLAIMS_NO_MORE in said.read_text(), within=LONG)
        wait_until(lambda: piled_up.count() >= 3, within=LONG)  # it goes on firing
        assert worker.poll() is None
        assert {fresh(stuck).status, fresh(held).status} == {"running"}
        (tmp_path / "release").touch()
        assert worker.wait(LONG) == 1, said.read_text()
    assert written(pids) == [str(worker.pid)]
    assert (fresh(held).status, held.result) == ("success", "released")
    assert (fresh(stuck).status, stuck.error_category) == ("failed", "timeout")
    assert (stuck.error, stuck.reason) == (GIVEN_UP, "")
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert piled_up.exists()
    with running(**environment):
        wait_until(lambda: not piled_up.exists(), within=LONG)


def test_a_thread_returning_within_grace_spares_the_worker(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    late = queue_a_run("spin", payload={"seconds": 600}, timeout=1)
    with running(**environment) as worker:
        wait_until(lambda: fresh(late).finished, within=LONG)
        after = queue_a_run("answer", payload={"value": 3})
        wait_until(lambda: fresh(after).finished, within=LONG)
        worker.send_signal(signal.SIGTERM)
        output, _ = worker.communicate(timeout=LONG)
    assert worker.returncode == 0, output
    assert (late.status, late.error_category) == ("failed", "timeout")
    assert late.error == "Timed out after 1 s."
    assert "in spin" in late.traceback
    assert after.result == 3
