"""Runs that are cancelled while they go on, by real workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.utils import timezone

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import stopping
from scheduled_tasks.models import Execution, Task
from tests.concurrency.runs import fresh, wait_for
from tests.support.processes import LONG, options, running, wait_until, written

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_a_newer_slot_waits_for_the_replaced_run(tmp_path: Path, executor: str) -> None:
    marks = tmp_path / "marks"
    Task(
        name="newest",
        handler="jobs.clean_up" if executor == "process" else "jobs.spin_and_clean_up",
        schedule="every 2 seconds",
        payload={"path": str(marks)},
        overlap_policy="cancel_other",
        executor=executor,
    ).save()
    replaced = Execution.objects.filter(status="cancelled", attempt=1)
    with running(TEST_OPTIONS=options(EXECUTOR=executor)):
        wait_until(lambda: replaced.count() >= 2, within=LONG)
    assert set(replaced.values_list("reason", flat=True)) == {"Replaced by a later slot."}
    assert written(marks)[1:4:2] == ["cleaned up", "cleaned up"], "two ran at a time"


def test_cancelling_one_run_leaves_its_neighbour_running(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    for name in ("one", "two"):
        task = Task(name=name, handler="jobs.write_pid", payload={"path": str(pids)}, max_retries=9)
        task.save()
    one, two = run_task_now("one"), run_task_now("two")
    with running():
        wait_until(lambda: len(written(pids)) == 2, within=LONG)
        stopping.cancel([one.pk], timezone.now(), reason="Not today.")
        wait_for(one, "cancelled")
        assert one.reason == "Not today."
        assert fresh(two).status == "running"
