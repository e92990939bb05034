"""One attempt of a handler that is a coroutine."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks import TaskContext
from tests.executors.conftest import Perform


def test_a_coroutine_runs_to_its_end(outcome_of: Perform) -> None:
    async def handler(context: TaskContext, *, days: int = 30) -> int:
        await asyncio.sleep(0)
        return days

    assert outcome_of(handler, days=3).result == 3


def test_a_coroutine_behind_a_plain_decorator_runs_too(outcome_of: Perform) -> None:
    async def inner() -> str:
        await asyncio.sleep(0)
        return "ran"

    @functools.wraps(inner)
    def handler() -> Any:
        return inner()

    assert outcome_of(handler).result == "ran"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), "failed"),
        (SystemExit(1), "failed"),
        (KeyboardInterrupt(), "failed"),
        (GeneratorExit(), "failed"),
        (StopIteration(), "failed"),
        (asyncio.CancelledError(), "failed"),
    ],
    ids=repr,
)
def test_a_coroutine_that_raises_has_an_outcome(
    outcome_of: Perform, error: BaseException, status: str
) -> None:
    async def handler() -> None:
        await asyncio.sleep(0)
        raise error

    assert outcome_of(handler).status == status


@pytest.mark.django_db
def test_a_coroutine_uses_its_threads_database_connection(outcome_of: Perform) -> None:
    from asgiref.sync import sync_to_async  # noqa: PLC0415

    def mine() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return connection.in_atomic_block

    async def handler() -> bool:
        return await sync_to_async(mine)()

    assert outcome_of(handler).result is True
