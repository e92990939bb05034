"""Runs for the tests of executors, and a handler that raises."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from scheduled_tasks.runtime.runs import Run

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def run_of(number: int, handler: str = "shop.job") -> Run:
    """Return the first attempt of the execution of that number."""
    return Run(
        execution_id=number,
        attempt=1,
        task_name="one",
        handler=handler,
        scheduled_for=NOW,
        trigger="manual",
    )


def clock() -> datetime:
    """Return the same moment always."""
    return NOW


def raising(error: BaseException) -> Callable[[], None]:
    def handler() -> None:
        raise error

    return handler
