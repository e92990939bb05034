"""A connection to PostgreSQL that breaks at each statement of a worker's life, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection

from scheduled_tasks import TaskContext, run_task_now, scheduled_task
from scheduled_tasks.handlers.registry import HandlerRegistry
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.models.sql.transactions import AWAY
from scheduled_tasks.worker.engine import Tick
from scheduled_tasks.worker.scheduler import Scheduler
from tests.support.lengths import short_and_long

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
MINUTES = 3


class Breaker:
    """Lets the server end the connection before one statement; ``number`` counts from 0."""

    def __init__(self, server: psycopg.Connection[Any], number: int) -> None:
        self.server = server
        self.number = number
        self.statements = 0

    def __call__(self, execute: Callable[..., Any], *statement: Any) -> Any:
        if self.statements == self.number and connection.connection is not None:
            backend = connection.connection.info.backend_pid
            self.server.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        self.statements += 1
        return execute(*statement)


@pytest.fixture
def server() -> Iterator[psycopg.Connection[Any]]:
    """Return another connection to the server."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no connections that a server could end.")
    given = connection.get_connection_params()
    names = {"host", "port", "user", "password", "dbname"}
    address = {name: given[name] for name in names.intersection(given)}
    with psycopg.connect(**address, autocommit=True) as other:
        yield other


@pytest.mark.parametrize("step", short_and_long("BREAK_EVERY", short=17, long=1))
def test_a_connection_that_breaks_at_any_statement(
    server: psycopg.Connection[Any],
    registry: HandlerRegistry,
    scheduler: Callable[..., Scheduler],
    now: datetime,
    step: int,
) -> None:
    calls: list[tuple[int, int]] = []

    @scheduled_task(name="shop.job")
    def job(context: TaskContext) -> None:
        calls.append((context.execution_id, context.attempt))
        context.logger.info("a line")
        context.progress(1, 2)

    make_tasks(now)
    with broken(server, -1) as whole:
        live(scheduler(), now)
    assert (len(calls), len(set(calls))) == (2 * MINUTES + 1, len(calls))
    for number in range(0, whole.statements, step):
        delete_everything()
        calls.clear()
        make_tasks(now)
        with broken(server, number):
            live(scheduler(), now)
        assert len(calls) == len(set(calls)) == 2 * MINUTES + 1, number
        executions = Execution.objects.all()
        assert {(each.status, each.attempt, each.losses) for each in executions} == {
            ("success", 1, 0)
        }, number
        assert executions.of_slots().count() == 2 * MINUTES, number
        assert executions.filter(log_lines__message="a line").count() == len(calls), number
        assert [row.state for row in Worker.objects.all()] == [Worker.State.STOPPED], number


@contextmanager
def broken(server: psycopg.Connection[Any], number: int) -> Iterator[Breaker]:
    """Break the connection before one statement inside the block, if ``number`` is not negative."""
    breaker = Breaker(server, number)
    with connection.execute_wrapper(breaker):
        yield breaker
    connection.close()  # it may have been broken at last


def live(worker: Scheduler, now: datetime) -> None:
    """Start a worker, let it fire, run and record for some minutes, and shut it down."""
    for minute in range(MINUTES + 1):
        moment = now + minute * MINUTE
        while not tick(worker, moment).idle:
            pass
    worker.shut_down()


def make_tasks(now: datetime) -> None:
    """Make two tasks with slots, and ask for a run of a third."""
    for name in ("one", "two"):
        Task(name=name, handler="shop.job", schedule="every 1 minute", anchor=now).save(now=now)
    Task(name="asked", handler="shop.job").save(now=now)
    run_task_now("asked", now=now)


def tick(worker: Scheduler, now: datetime) -> Tick:
    """Tick, and again after an error of the connection, as the loop of a worker does."""
    while True:
        try:
            return worker.tick(now)
        except AWAY as error:
            worker.recover(error, 1)


def delete_everything() -> None:
    for model in (Execution, Task, Worker):
        model.objects.all().delete()
