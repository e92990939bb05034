"""What all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduled_tasks import scheduled_task
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.handlers.registry import registry as global_registry
from scheduled_tasks.lifecycle.parking import restart_clock
from scheduled_tasks.models import Task, Worker
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING, make_worker


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for no database: it need not run on each of them."""
    for item in items:
        fixtures = {"db", "transactional_db"}.intersection(getattr(item, "fixturenames", ()))
        if not fixtures and item.get_closest_marker("django_db") is None:
            item.add_marker("without_database")


@pytest.fixture
def now() -> datetime:
    """Return an ordinary moment, a Sunday at noon; tests pass it in instead of the time."""
    return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def registry() -> Iterator[HandlerRegistry]:
    """Return the registry with nothing in it."""
    with global_registry.isolated():
        yield global_registry


@pytest.fixture
def nothing(registry: HandlerRegistry) -> None:
    """Register the one handler that there is: it does nothing."""

    @scheduled_task(name=NOTHING)
    def nothing(n: int = 0) -> None: ...


@pytest.fixture
def worker(db: None, now: datetime) -> Worker:
    """Return the row of a worker whose executor is the test."""
    return make_worker("first", now)


@pytest.fixture
def scheduler() -> Callable[..., Scheduler]:
    """Return a maker of schedulers that run their executions inline."""

    def make(**options: Any) -> Scheduler:
        return Scheduler(
            **{"executor": InlineExecutor, "syncs": False, "concurrency": 100, **options}
        )

    return make


@pytest.fixture
def make_task(db: None, now: datetime) -> Callable[..., Task]:
    """Return a maker of tasks whose clock starts at ``now``."""

    def make(name: str, handler: str, schedule: str = "", **fields: Any) -> Task:
        task = Task(name=name, handler=handler, schedule=schedule, **fields)
        if schedule.startswith("every"):
            task.anchor = task.anchor or now
        task.validate()
        task.save()
        restart_clock(task.state, now, using="default")
        return task

    return make
