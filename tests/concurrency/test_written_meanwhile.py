"""Handlers that write to the database while what they say has to be written, too."""

from __future__ import annotations

import pytest

from scheduled_tasks.models import Worker
from tests.concurrency.runs import fresh, make_task_of, queue_a_run
from tests.support.processes import LONG, ended, manage, options, running, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

#: More than a run may say before somebody writes it.
MANY = 12_000
WAYS = {"atomic": "committed", "open": "left open", "manual": "left open"}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_by_hand_never_waits_for_itself(way: str) -> None:
    task = make_task_of("write_and_say", payload={"way": way})
    process = manage("runtask", task.name, TEST_OPTIONS=options(LEASE=30))
    code, output = ended(process)
    assert code == 0, output
    execution = task.executions.get()
    assert (execution.status, execution.result) == ("success", WAYS[way])
    assert (execution.processed_count, execution.checkpoint) == (5, 5)
    assert execution.log_count == (5 if way == "atomic" else 6), "and the warning"
    assert Worker.objects.filter(label="of the handler").exists() is (way == "atomic")


@pytest.mark.parametrize(
    ("way", "executor"),
    [
        ("open", "process"),
        ("atomic", "thread"),
        *(
            pytest.param(way, executor, marks=pytest.mark.long)
            for way in WAYS
            for executor in ("process", "thread")
        ),
    ],
)
def test_a_worker_writes_messages_when_it_can(way: str, executor: str) -> None:
    with running("--verbosity=0", TEST_OPTIONS=options(LEASE=30)):
        payload = {"way": way, "lines": MANY}
        execution = queue_a_run("write_and_say", payload=payload, executor=executor)
        wait_until(lambda: fresh(execution).finished, within=LONG)
    assert (execution.status, execution.result) == ("success", WAYS[way])
    assert (execution.processed_count, execution.checkpoint) == (MANY, MANY)
    assert execution.log_count == 10_000 + 2 + 100
