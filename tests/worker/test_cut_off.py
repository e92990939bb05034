"""A worker whose connection breaks after a commit and before the answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import OperationalError

from scheduled_tasks.lifecycle import claiming
from scheduled_tasks.lifecycle.ending import end
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.signals import execution_finished
from scheduled_tasks.worker import result_writer
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("nothing")]


def test_an_unanswered_claim_is_given_back_and_run(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = claiming.claim

    def claim_and_lose_the_answer(*given: Any, **options: Any) -> list[Execution]:
        claim(*given, **options)
        raise OperationalError("server closed the connection unexpectedly")

    make_task("answer", NOTHING)
    execution = run_task_now("answer")
    now: datetime = execution.run_after
    worker = scheduler()
    with monkeypatch.context() as broken:
        broken.setattr(claiming, "claim", claim_and_lose_the_answer)
        with pytest.raises(OperationalError) as caught:
            worker.tick(now)
    broken_off = fresh(execution)
    assert (broken_off.status, broken_off.worker) == ("running", str(worker.engine.worker.pk))
    monkeypatch.setattr("scheduled_tasks.worker.scheduler.connections.close_all", lambda: None)
    worker.recover(caught.value, 1)
    worker.tick(now)
    worker.tick(worker.engine.clock.now())
    done = fresh(execution)
    assert (done.status, done.attempt, done.losses) == ("success", 2, 0)


def test_an_unanswered_claim_is_given_back_at_shutdown(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_task("answer", NOTHING)
    execution = run_task_now("answer")
    worker = scheduler(poll_interval=0.01)
    worker.engine.start(execution.run_after)
    monkeypatch.setattr(worker.engine, "start_all", list)
    worker.engine.claim(execution.run_after)
    monkeypatch.setattr("scheduled_tasks.worker.scheduler.connections.close_all", lambda: None)
    worker.recover(OperationalError("server closed the connection unexpectedly"), 1)
    worker.shut_down()
    assert (fresh(execution).status, execution.losses) == ("queued", 0)


def test_an_unanswered_end_is_announced_once(
    make_task: Callable[..., Task],
    scheduler: Callable[..., Scheduler],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[int] = []

    def tell(execution: Execution, **_: Any) -> None:
        told.append(execution.pk)

    def end_and_lose_the_answer(*given: Any, **options: Any) -> list[Execution]:
        end(*given, **options)
        raise OperationalError("server closed the connection unexpectedly")

    make_task("answer", NOTHING)
    execution = run_task_now("answer")
    worker = scheduler()
    execution_finished.connect(tell)
    try:
        with monkeypatch.context() as broken:
            broken.setattr(result_writer, "end", end_and_lose_the_answer)
            with pytest.raises(OperationalError):
                worker.tick(execution.run_after)
        assert (fresh(execution).status, told) == ("success", [])
        worker.engine.write_results()
        worker.engine.write_results()
    finally:
        execution_finished.disconnect(tell)
    assert told == [execution.pk]
    assert "taken from this worker" not in caplog.text


def fresh(execution: Execution) -> Execution:
    execution.refresh_from_db()
    return execution
