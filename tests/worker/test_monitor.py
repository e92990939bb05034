"""A worker that stops: what it sends is finished, and nothing in that keeps it from stopping."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from scheduled_tasks.executors.dispatch import Dispatcher
from scheduled_tasks.models import Execution, Task, TaskState, Worker
from scheduled_tasks.worker.deliveries import Deliveries
from scheduled_tasks.worker.monitor import Monitor
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING

pytestmark = pytest.mark.django_db

MakeScheduler = Callable[..., Scheduler]


def raising(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [OperationalError("gone"), ValueError("odd")])
def test_messages_keep_no_worker_from_closing(
    scheduler: MakeScheduler,
    now: datetime,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = scheduler()
    worker.tick(now)
    monkeypatch.setattr(Deliveries, "close", raising(error))
    worker.close()
    assert "messages are left to other workers" in caplog.text


def test_messages_keep_no_worker_from_stopping(
    scheduler: MakeScheduler,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = scheduler()
    worker.tick(now)
    monkeypatch.setattr(Deliveries, "run", raising(ValueError("odd")))
    worker.shut_down()
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert "messages could not be served" in caplog.text


def test_runs_have_ended_before_messages_are_waited_for(
    scheduler: MakeScheduler, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other workers may have the runs of a worker that was given up as lost."""
    order: list[str] = []
    worker = scheduler()
    worker.tick(now)
    monkeypatch.setattr(Dispatcher, "close", lambda _: order.append("runs"))
    monkeypatch.setattr(Monitor, "close", lambda *_: order.append("messages"))
    worker.close()
    assert order == ["runs", "messages"]


def test_messages_are_served_while_runs_end(
    scheduler: MakeScheduler, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[str] = []
    worker = scheduler(poll_interval=0.001)
    worker.tick(now)
    monkeypatch.setattr(Dispatcher, "in_hand", property(lambda _: len(served) < 3))
    monkeypatch.setattr(Deliveries, "run", lambda *_: served.append("once"))
    worker.shut_down()
    assert len(served) == 3


@pytest.mark.usefixtures("nothing")
def test_a_single_pass_does_not_wait_for_ever(
    scheduler: MakeScheduler, make_task: Callable[..., Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver hangs, and a slot comes that is for the next pass."""
    make_task("later", NOTHING, "every 1 second")
    TaskState.objects.update(next_run_at=timezone.now() + timedelta(hours=1))

    def serve(*_: object) -> None:
        TaskState.objects.update(next_run_at=timezone.now())

    monkeypatch.setattr(Deliveries, "run", serve)
    monkeypatch.setattr(Deliveries, "busy", True)
    monkeypatch.setattr("scheduled_tasks.worker.scheduler.MAX_SENDING_SECONDS", 0.05)
    scheduler(poll_interval=0.01).run_once()
    assert Worker.objects.get().state == Worker.State.STOPPED
    assert not Execution.objects.exists()
