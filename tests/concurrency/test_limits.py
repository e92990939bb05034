"""What a task's row says of time and memory, held by a real worker, and on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduled_tasks.models import Execution, Worker
from tests.concurrency.runs import queue_a_run
from tests.support.processes import LONG, alive, options, schedulers, wait_until, written

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


def run_all() -> dict[str, Execution]:
    """Run what is queued with one worker, which must be none the worse for it."""
    with schedulers(1, "--no-sync", TEST_OPTIONS=options(KILL_GRACE=1)):
        wait_until(lambda: not Execution.objects.filter(finished_at=None).exists(), within=LONG)
        assert Worker.objects.get().state == Worker.State.RUNNING
    assert set(Execution.objects.values_list("attempt", "losses")) == {(1, 0)}
    return {execution.task_name: execution for execution in Execution.objects.all()}


def test_the_timeout_of_a_task_is_held(tmp_path: Path) -> None:
    path, stubborn = tmp_path / "path", tmp_path / "stubborn"
    queue_a_run("clean_up", payload={"path": str(path)}, timeout=1)
    queue_a_run("ignore_terms", payload={"path": str(stubborn)}, timeout=1)
    queue_a_run("look_and_return", timeout=1)
    queue_a_run("answer", payload={"value": "in time"}, timeout=60)
    ran = run_all()
    timed_out = [ran[name] for name in ("clean_up", "ignore_terms", "look_and_return")]
    assert {(run.status, run.error_category) for run in timed_out} == {("failed", "timeout")}
    assert [run.reason for run in timed_out] == ["", "", ""]
    assert ran["clean_up"].error == "Timed out after 1 s."
    assert "in clean_up" in ran["clean_up"].traceback
    assert written(path)[1:] == ["cleaned up"]
    assert ran["ignore_terms"].error.startswith("Timed out after 1 s and did not stop within 1 s")
    assert not alive(int(written(stubborn)[0]))
    assert ran["look_and_return"].result["done"] > 0
    assert all(900 <= run.duration_ms < LONG * 1000 for run in timed_out)
    assert (ran["answer"].status, ran["answer"].result) == ("success", "in time")


def test_the_memory_limit_is_enforced_and_peak_recorded() -> None:
    queue_a_run("hog", payload={"megabytes": 200}, memory_limit_mb=60)
    queue_a_run("hog_in_child", payload={"megabytes": 200}, memory_limit_mb=60)
    queue_a_run("hog", name="within", payload={"megabytes": 40, "seconds": 0}, memory_limit_mb=90)
    queue_a_run("answer")
    ran = run_all()
    for name in ("hog", "hog_in_child"):
        peak = ran[name].peak_memory_mb
        assert 60 < peak < 400
        assert (ran[name].status, ran[name].error_category) == ("failed", "memory")
        assert ran[name].error == f"Exceeded the 60 MB memory limit ({peak} MB)."
    assert (ran["within"].status, ran["within"].result) == ("success", 40)
    assert 40 <= ran["within"].peak_memory_mb <= 90
    assert ran["answer"].status == "success"
    assert ran["answer"].peak_memory_mb < 40
