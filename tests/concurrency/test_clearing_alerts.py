"""A scan clears an alert while a run of the task fails: the failure is never without an alert."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks import run_task_now
from scheduled_tasks.lifecycle import ending
from scheduled_tasks.models import Alert, Execution, Task, TaskState, Worker
from scheduled_tasks.monitoring.alerts.scan import ConditionScan
from tests.concurrency.interleaving import (
    READ_COMMITTED,
    REPEATABLE_READ,
    Stage,
    stage,
    try_again_at_once,
)
from tests.support.attempts import NOTHING, claim, outcome

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("nothing")]


@pytest.fixture(params=[READ_COMMITTED, REPEATABLE_READ])
def opened(
    request: pytest.FixtureRequest, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Open a stage of two connections."""
    if connection.vendor != "postgresql":
        pytest.skip("needs row locks")
    try_again_at_once(monkeypatch)
    with stage(request.param) as opened:
        yield opened


def fail(task: Task, worker: Worker, now: datetime) -> Callable[[], Any]:
    """Claim a run of the task; return what ends it as failed."""
    run_task_now(task.name, now=now)
    failed = outcome(claim(worker, now), now, "failed")
    return lambda: ending.end([failed], worker, now)


def prepare(task: Task, worker: Worker, now: datetime) -> Callable[[], Any]:
    """Leave the alert of a failure that a scan would clear; return what fails again."""
    Alert.objects.all().delete()
    Execution.objects.all().delete()
    fail(task, worker, now)()
    TaskState.objects.update(consecutive_failures=0)
    return fail(task, worker, now)


@pytest.mark.parametrize("first", ["scan", "end"])
def test_no_failure_is_without_an_alert(
    opened: Stage, make_task: Callable[..., Task], worker: Worker, now: datetime, first: str
) -> None:
    task = make_task("a", NOTHING, notify_on=["failed"])
    end = prepare(task, worker, now)
    scan = ConditionScan([])
    alone = opened.play([lambda: scan.run(now)] if first == "scan" else [end], [(0, None)])
    for stop in range(1, len(alone.steps)):
        end = prepare(task, worker, now)
        pair = [lambda: ConditionScan([]).run(now), end]
        operations = pair if first == "scan" else pair[::-1]
        played = opened.play(operations, [(0, stop), (1, None)])
        assert played.errors == [None, None], f"stopped before step {stop}"
        assert TaskState.objects.get().consecutive_failures == 1
        assert Alert.objects.open().count() == 1, f"stopped before step {stop}"
