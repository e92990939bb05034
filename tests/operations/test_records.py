"""Tasks, executions, log lines and workers as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from scheduled_tasks import run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, ExecutionLog, Task, Worker
from scheduled_tasks.models.policies import Policies
from scheduled_tasks.operations.records import (
    camel_case,
    execution_record,
    log_record,
    plain,
    task_record,
    worker_record,
)
from scheduled_tasks.operations.tasks import list_tasks

pytestmark = pytest.mark.django_db

Make = Callable[..., Task]
SECRET = {"api_key": "k-123", "url": "https://u:k-123@host/", "days": 3}
MASKED = {"api_key": "[redacted]", "url": "https://u:[redacted]@host/", "days": 3}
EARLY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def handlers(registry: HandlerRegistry) -> None:
    @scheduled_task(name="shop.cleanup")
    def cleanup(**options: Any) -> None: ...


def as_json(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as a client reads it, which fails for what is not plain JSON."""
    read: dict[str, Any] = json.loads(json.dumps(record, allow_nan=False))
    assert read == record
    return read


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (EARLY, "2026-03-01T12:00:00Z"),
        (EARLY + timedelta(microseconds=120), "2026-03-01T12:00:00.000120Z"),
        (EARLY.astimezone(timezone(timedelta(hours=2))), "2026-03-01T12:00:00Z"),
        (None, None),
    ],
)
def test_times_are_in_utc_with_z(moment: datetime | None, expected: str | None) -> None:
    assert plain(moment) == expected


def test_a_task_has_its_policies_and_its_runs(make_task: Make) -> None:
    task = make_task(
        "night", "shop.cleanup", "0 2 * * *", category="x", max_retries=2, starts_at=EARLY
    )
    state = task.state
    state.last_run_at, state.last_status = EARLY, "success"
    state.save()
    record = as_json(task_record(list_tasks().get()))
    assert record["id"] == str(task.pk)
    assert record["createdAt"] == plain(task.created_at)
    assert record["updatedAt"] == plain(task.updated_at)
    expected = {
        "name": "night",
        "schedule": "0 2 * * *",
        "timezone": "UTC",
        "handler": "shop.cleanup",
        "enabled": True,
        "category": "x",
        "origin": "admin",
        "lastRun": "2026-03-01T12:00:00Z",
        "nextRun": "2026-03-02T02:00:00Z",
        "lastStatus": "success",
        "payload": {},
        "metadata": {},
        "maxRetries": 2,
        "retryBackoff": 2.0,
        "memoryLimitMb": None,
        "startsAt": "2026-03-01T12:00:00Z",
        "pausedUntil": None,
        "pauseReason": "",
        "parkedReason": None,
    }
    assert {key: record[key] for key in expected} == expected
    assert {camel_case(name) for name in Policies.DECLARED_FIELDS} <= set(record)


def test_a_task_that_never_ran_has_null_values(make_task: Make) -> None:
    make_task("by-hand", "shop.cleanup")
    record = task_record(list_tasks().get())
    keys = ("lastRun", "nextRun", "lastStatus", "anchor")
    assert [record[key] for key in keys] == [None] * 4


def test_a_task_without_a_state_has_a_record(db: None) -> None:
    Task.objects.bulk_create([Task(name="bulk", handler="shop.cleanup")])
    record = as_json(task_record(list_tasks().get()))
    assert (record["name"], record["nextRun"]) == ("bulk", None)


def test_secrets_of_tasks_are_masked(make_task: Make) -> None:
    task = make_task("night", "shop.cleanup", payload=SECRET, metadata=SECRET)
    record = task_record(task)
    assert (record["payload"], record["metadata"]) == (MASKED, MASKED)
    assert task.payload == SECRET


def test_an_execution_has_the_keys_of_the_contract(make_task: Make, now: datetime) -> None:
    task = make_task("night", "shop.cleanup")
    queued = run_task_now("night", {"days": 3}, by="user:ada", now=EARLY)
    record = as_json(execution_record(queued))
    assert record == {
        "id": str(queued.pk),
        "taskId": str(task.pk),
        "taskName": "night",
        "handler": "shop.cleanup",
        "queue": "default",
        "status": "queued",
        "trigger": "manual",
        "triggeredBy": "user:ada",
        "testMode": False,
        "payload": {"days": 3},
        "scheduledFor": "2026-03-01T12:00:00Z",
        "createdAt": "2026-03-01T12:00:00Z",
        "startedAt": None,
        "completedAt": None,
        "durationMs": None,
        "attempts": 0,
        "worker": None,
        "processed": 0,
        "errors": 0,
        "progress": None,
        "checkpoint": None,
        "result": None,
        "reason": None,
        "error": None,
        "errorCategory": None,
    }


def test_an_execution_that_has_ended_says_how(make_task: Make) -> None:
    make_task("night", "shop.cleanup")
    row = run_task_now("night", now=EARLY)
    row.task = None
    row.status, row.attempt, row.duration_ms, row.worker_label = "failed", 2, 1_500, "host:1"
    row.started_at, row.finished_at = EARLY, EARLY + timedelta(seconds=1.5)
    row.error, row.error_category, row.reason = "ValueError: no", "logic", "No more."
    row.processed_count, row.error_count = 5, 1
    record = as_json(execution_record(row))
    assert record["taskId"] is None
    assert record["taskName"] == "night"
    assert (record["startedAt"], record["completedAt"]) == (
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00:01.500000Z",
    )
    assert (record["durationMs"], record["attempts"], record["worker"]) == (1_500, 2, "host:1")
    assert (record["error"], record["errorCategory"]) == ("ValueError: no", "logic")
    assert (record["reason"], record["processed"], record["errors"]) == ("No more.", 5, 1)


def test_secrets_of_executions_are_masked() -> None:
    row = Execution(
        task_name="night",
        payload=SECRET,
        progress=SECRET,
        checkpoint=SECRET,
        result=SECRET,
        reason="token=k-123",
        error="ValueError: password=k-123",
    )
    record = as_json(execution_record(row))
    for key in ("payload", "progress", "checkpoint", "result"):
        assert record[key] == MASKED
    assert "k-123" not in json.dumps(record)


@pytest.mark.parametrize(
    ("logger", "level", "expected"),
    [
        ("shop", logging.DEBUG, "debug"),
        ("shop", 5, "debug"),
        ("shop", logging.INFO, "info"),
        ("shop", 25, "info"),
        ("shop", logging.WARNING, "warning"),
        ("shop", logging.ERROR, "error"),
        ("shop", 60, "critical"),
        ("stdout", logging.INFO, "log"),
        ("stderr", logging.WARNING, "log"),
    ],
)
def test_a_log_line_names_its_level(logger: str, level: int, expected: str) -> None:
    line = ExecutionLog(
        pk=7,
        execution_id=3,
        attempt=1,
        logged_at=EARLY,
        level=level,
        logger=logger,
        message="token=k-123",
    )
    assert as_json(log_record(line)) == {
        "id": "7",
        "executionId": "3",
        "attempt": 1,
        "loggedAt": "2026-03-01T12:00:00Z",
        "level": expected,
        "logger": logger,
        "message": "token=[redacted]",
    }


def test_a_worker_has_its_heartbeat(now: datetime) -> None:
    worker = Worker.of_this_process(label="first")
    worker.started_at = worker.heartbeat_at = EARLY
    worker.save()
    record = as_json(worker_record(worker))
    assert (record["id"], record["label"], record["state"]) == (str(worker.pk), "first", "running")
    assert record["startedAt"] == record["heartbeatAt"] == "2026-03-01T12:00:00Z"


def test_no_record_makes_a_query(
    make_task: Make, django_assert_num_queries: Callable[[int], Any]
) -> None:
    for name in ("one", "two", "three"):
        make_task(name, "shop.cleanup")
        run_task_now(name)
    with django_assert_num_queries(2):
        tasks = [task_record(task) for task in list_tasks()]
        executions = [execution_record(execution) for execution in Execution.objects.all()]
    assert (len(tasks), len(executions)) == (3, 3)
