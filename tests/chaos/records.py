"""The history as the database has it, read by plain SQL: no code of the engine in between."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import class_row

from scheduled_tasks.runtime.statuses import UNFINISHED
from tests.chaos.history import Alarm, Due, Row, Tried

ROWS = """
    SELECT id, task_name AS task, status, trigger, slot, slot_until, slots, attempt, failures,
           losses, worker_label AS worker, exclusive, error_category AS category, reason,
           cancel_requested_at IS NOT NULL AS cancel_asked, created_at, finished_at
    FROM scheduled_tasks_execution ORDER BY id
"""
TRIED = """
    SELECT execution_id AS execution, number, outcome, worker_label AS worker, finished_at,
           error_category AS category
    FROM scheduled_tasks_attempt ORDER BY execution_id, number
"""
COUNTS = """
    SELECT name, execution_count
    FROM scheduled_tasks_taskstate JOIN scheduled_tasks_task ON id = task_id
"""
FAILING = """
    SELECT name, consecutive_failures
    FROM scheduled_tasks_taskstate JOIN scheduled_tasks_task ON id = task_id
"""
ALARMS = """
    SELECT id::text, condition, raised_at, task_name AS task, subject, cleared_at,
           execution_id AS execution, (details->>'slot')::timestamptz AS slot
    FROM scheduled_tasks_alert ORDER BY raised_at
"""
OUTBOX = (
    "SELECT alert_id::text AS alert, event, delivered FROM scheduled_tasks_delivery ORDER BY id"
)
STATES = "SELECT label, state FROM scheduled_tasks_worker"
UNFINISHED_ROWS = (
    f"SELECT count(*) FROM scheduled_tasks_execution WHERE status IN {tuple(map(str, UNFINISHED))}"
)
COMING = "SELECT count(*) FROM scheduled_tasks_taskstate WHERE next_run_at IS NOT NULL"
UNSENT = "SELECT count(*) FROM scheduled_tasks_delivery WHERE finished_at IS NULL"
#: What is cleared by looking, once it is so: nobody has to do anything for it.
OVER_AT_REST = """
    SELECT count(*) FROM scheduled_tasks_alert
    WHERE open_key IS NOT NULL AND condition IN ('worker_lost', 'scheduler_behind', 'invariant')
"""
BELIEVED_ALIVE = "SELECT count(*) FROM scheduled_tasks_worker WHERE state = 'running'"


def rows(connection: psycopg.Connection[Any]) -> list[Row]:
    """Return all executions and covering rows."""
    return connection.cursor(row_factory=class_row(Row)).execute(ROWS).fetchall()


def tried(connection: psycopg.Connection[Any]) -> list[Tried]:
    """Return all attempts that were followed by another."""
    return connection.cursor(row_factory=class_row(Tried)).execute(TRIED).fetchall()


def counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return how many executions each task says that it has had."""
    return dict(connection.execute(COUNTS).fetchall())


def failing(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return how many failures in a row each task says that it has had."""
    return dict(connection.execute(FAILING).fetchall())


def alarms(connection: psycopg.Connection[Any]) -> list[Alarm]:
    """Return all alerts."""
    return connection.cursor(row_factory=class_row(Alarm)).execute(ALARMS).fetchall()


def outbox(connection: psycopg.Connection[Any]) -> list[Due]:
    """Return all messages, as the outbox has them."""
    return connection.cursor(row_factory=class_row(Due)).execute(OUTBOX).fetchall()


def states(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Return the states of all workers by their labels."""
    return dict(connection.execute(STATES).fetchall())


def to_come(connection: psycopg.Connection[Any], *, workers: int) -> dict[str, int]:
    """Return what keeps the scene from being quiet, when so many workers are alive."""
    asked = {
        "unfinished": UNFINISHED_ROWS,
        "tasks with slots to come": COMING,
        "messages not sent": UNSENT,
        "alerts of what is over": OVER_AT_REST,
    }
    found = {name: number(connection, query) for name, query in asked.items()}
    found["dead workers that are believed alive"] = number(connection, BELIEVED_ALIVE) - workers
    return {name: value for name, value in found.items() if value}


def number(connection: psycopg.Connection[Any], query: str) -> int:
    [(value,)] = connection.execute(query).fetchall()
    return int(value)
