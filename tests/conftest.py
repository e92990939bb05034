"""What all tests share."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connections
from hypothesis import HealthCheck, settings

from scheduled_tasks import scheduled_task
from scheduled_tasks.executors.inline import InlineExecutor
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.handlers.registry import registry as global_registry
from scheduled_tasks.lifecycle.parking import restart_clock
from scheduled_tasks.models import Task, Worker
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.attempts import NOTHING, make_worker
from tests.support.registries import isolated

# How long an example takes, or to invent one, says more about the machine than about the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

#: Folders whose tests start processes and wait for them.
STARTING_PROCESSES = tuple(
    f"tests/{folder}/"
    for folder in ("commands", "concurrency", "environment", "executors", "policies")
)


# What is made while tests are collected stays until the end, so to look through it is in vain.
gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, but not among the tests."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Mark, select and order the tests."""
    for item in items:
        if not uses_database(item):
            item.add_marker("without_database")
    leave_out_long_forms(config, items)
    yield
    items.sort(key=is_short)  # last, since pytest-django sorts too


def uses_database(item: pytest.Item) -> bool:
    fixtures = {"db", "transactional_db"}.intersection(getattr(item, "fixturenames", ()))
    return bool(fixtures) or item.get_closest_marker("django_db") is not None


def leave_out_long_forms(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked as long unless ``-m`` names it."""
    if {"long", "chaos"}.intersection(config.getoption("markexpr").split()):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def is_short(item: pytest.Item) -> bool:
    """Whether a test waits for no process: those that do begin first, the others fill the rest."""
    return not item.nodeid.startswith(STARTING_PROCESSES)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Close this thread's connections before the test database is destroyed.

    Django closes the connection object with which the database was created. `runtask` replaces
    that object when a handler leaves a transaction open, and the new one may be open at the end.
    """
    yield
    connections.close_all()


@pytest.fixture(scope="session", autouse=True)
def default_hangup() -> None:
    """Let processes of tests end on SIGHUP, which they ignore if nohup started the suite."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def now() -> datetime:
    """Return an ordinary moment, a Sunday at noon; tests pass it in instead of the time."""
    return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def registry() -> Iterator[HandlerRegistry]:
    """Return the registry with nothing in it."""
    with isolated(global_registry):
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
