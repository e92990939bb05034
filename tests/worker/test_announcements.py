"""The log lines and the signal for attempts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution
from scheduled_tasks.worker.announcements import announce_dropped_end, announce_end, announce_start
from tests.executors.runs import run_of


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="scheduled_tasks")
    return caplog


@pytest.fixture
def handler(registry: HandlerRegistry) -> Any:
    @scheduled_task(name="shop.job")
    def job() -> None:
        pass

    return job


def ended(status: str, **fields: Any) -> Execution:
    """Return an unsaved execution: announcements need no database."""
    values = {"task_name": "one", "handler": "shop.job", "attempt": 2, "duration_ms": 15}
    return Execution(pk=7, status=status, **{**values, **fields})


def test_a_start_is_logged_with_its_run(logged: pytest.LogCaptureFixture) -> None:
    announce_start(run_of(7))
    assert logged.messages == ["start task=one execution=7 attempt=1"]


@pytest.mark.parametrize("status", ["success", "cancelled"])
def test_an_end_is_logged(handler: Any, logged: pytest.LogCaptureFixture, status: str) -> None:
    announce_end(ended(status))
    [record] = logged.records
    assert record.getMessage() == f"{status} task=one execution=7 attempt=2 duration_ms=15"
    assert record.levelname == "INFO"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"error": "ValueError: no", "traceback": "Traceback …\nValueError: no\n"}, "Traceback"),
        ({"error": "Process was killed (SIGKILL)."}, "Process was killed (SIGKILL)."),
    ],
)
def test_a_failure_is_logged_with_its_traceback(
    handler: Any, logged: pytest.LogCaptureFixture, fields: dict[str, str], said: str
) -> None:
    announce_end(ended("failed", **fields))
    [record] = logged.records
    first, second = record.getMessage().split("\n")[:2]
    assert first == "failed task=one execution=7 attempt=2 duration_ms=15"
    assert second.startswith(said)
    assert record.levelname == "ERROR"


def test_a_requeued_execution_is_a_warning(handler: Any, logged: pytest.LogCaptureFixture) -> None:
    announce_end(ended("queued", error="It was lost."))
    [record] = logged.records
    assert record.getMessage() == "queued again task=one execution=7 attempt=2: It was lost."
    assert record.levelname == "WARNING"


def test_a_dropped_end_is_a_warning(logged: pytest.LogCaptureFixture) -> None:
    announce_dropped_end(7, 2)
    [record] = logged.records
    assert "execution=7 attempt=2" in record.getMessage()
    assert record.levelname == "WARNING"
