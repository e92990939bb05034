"""Retries of runs in processes and threads: what the handler raised decides in the worker."""

from __future__ import annotations

import pytest

from scheduled_tasks import run_task_now
from scheduled_tasks.models import Task
from tests.concurrency.runs import fresh
from tests.support.processes import LONG, options, running, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.any_database]


@pytest.mark.parametrize("executor", ["process", "thread"])
def test_each_attempt_follows_what_the_last_one_raised(executor: str) -> None:
    Task(name="turns", handler="jobs.raise_in_turn", max_retries=9, retry_delay=0).save()
    good, bad = run_task_now("turns"), run_task_now("turns", {"gives_up": True})
    with running(TEST_OPTIONS=options(EXECUTOR=executor)):
        wait_until(lambda: fresh(good).finished and fresh(bad).finished, within=LONG)
    assert (good.status, good.result, good.attempt, good.failures) == ("success", "done", 3, 1)
    assert (bad.status, bad.error, bad.attempt, bad.failures) == (
        "failed",
        "ValueError: never",
        3,
        2,
    )
    for row in (good, bad):
        kept = row.attempts.values_list("number", "outcome", "error_category")
        assert list(kept) == [(1, "postponed", "logic"), (2, "failed", "network")]
