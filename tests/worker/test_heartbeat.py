"""The thread of the heartbeat goes on, whatever happens in it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from scheduled_tasks.models import Worker
from scheduled_tasks.runtime.clock import Clock
from scheduled_tasks.worker.heartbeat import Heartbeat
from tests.support.processes import LONG


def test_no_error_ends_the_heartbeats_thread(
    worker: Worker,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.SCHEDULED_TASKS = {**settings.SCHEDULED_TASKS, "HEARTBEAT_INTERVAL": 0.01}
    heartbeat = Heartbeat(worker, Clock())
    errors = iter([MemoryError(), OSError("Too many open files")])
    beaten = threading.Event()

    def beat() -> None:
        if error := next(errors, None):
            raise error
        beaten.set()

    monkeypatch.setattr(heartbeat, "beat", beat)
    heartbeat.start()
    assert beaten.wait(LONG)
    heartbeat.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "heartbeat failed, trying again: MemoryError()",
        "heartbeat failed, trying again: Too many open files",
    ]
