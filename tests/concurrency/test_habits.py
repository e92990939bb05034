"""Handlers that change their process under a real worker: it goes on, and tells the truth."""

from __future__ import annotations

import pytest

from tests.concurrency.runs import fresh, queue_a_run
from tests.support.processes import LONG, manage, options

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_a_handler_that_replaces_clocks_ends_no_worker(executor: str) -> None:
    runs = [
        queue_a_run(
            "do_and_return", {"habit": habit}, name=habit.replace(" ", "-"), priority=priority
        )
        for priority, habit in enumerate(("collect no garbage", "freeze clocks"))
    ]
    worker = manage(
        "runscheduler", "--once", "--concurrency=1", TEST_OPTIONS=options(EXECUTOR=executor)
    )
    output, _ = worker.communicate(timeout=LONG)
    assert worker.returncode == 0, output
    for run in map(fresh, runs):
        assert (run.status, run.error, run.reason) == ("success", "", ""), output
        assert run.duration_ms is not None
        assert 0 <= run.duration_ms < LONG * 1000
