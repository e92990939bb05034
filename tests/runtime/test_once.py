"""Keys that runs take and use up, one after the other; beside each other in tests/concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import Error, IntegrityError, connection, transaction

from scheduled_tasks.exceptions import LeaseLost
from scheduled_tasks.executors.attempt_store import DatabaseAttemptStore
from scheduled_tasks.executors.runner import context_of
from scheduled_tasks.lifecycle import ending
from scheduled_tasks.models import Execution, OnceKey, Task, Worker
from scheduled_tasks.operations.tasks import run_task_now
from scheduled_tasks.runtime.cancellation import Cancellation
from scheduled_tasks.runtime.context import NullRecorder, TaskContext
from scheduled_tasks.runtime.once import OnceBlock
from scheduled_tasks.runtime.runs import Run
from tests.support.attempts import NOTHING, claim, loss

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
ContextAt = Callable[..., TaskContext]


def context_at(now: datetime, run: Run) -> TaskContext:
    """Return what the handler of a run is handed at a moment."""
    return context_of(run, NullRecorder(), Cancellation(), DatabaseAttemptStore(run, lambda: now))


@pytest.fixture
def run(nothing: None, make_task: Callable[..., Task], worker: Worker, now: datetime) -> Run:
    """Return an attempt that is being made."""
    make_task("one", NOTHING)
    return begin("one", worker, now)


def begin(task: str, worker: Worker, now: datetime) -> Run:
    Task.objects.filter(name=task).update(overlap_policy=Task.OverlapPolicy.ALLOW)
    run_task_now(task, now=now)
    return claim(worker, now).as_run()


def another_attempt(run: Run, worker: Worker, now: datetime) -> Run:
    """Lose an attempt and begin the next one."""
    [lost] = Execution.objects.filter(pk=run.execution_id)
    ending.end([loss(lost)], worker, now)
    return claim(worker, now).as_run()


def test_a_key_is_used_up_after_its_block(run: Run, worker: Worker, now: datetime) -> None:
    context = context_at(now, run)
    with context.once("mail") as first:
        assert first
    for later in (run, begin("one", worker, now), another_attempt(run, worker, now)):
        with context_at(now + 1000 * HOUR, later).once("mail") as again:
            assert not again
    row = OnceKey.objects.get()
    assert (row.task_name, row.key, row.final, row.expires_at) == ("one", "mail", True, None)


def test_each_key_and_each_task_is_by_itself(
    run: Run, make_task: Callable[..., Task], worker: Worker, now: datetime
) -> None:
    make_task("other", NOTHING)
    for each, key in ((run, "a"), (run, "b"), (begin("other", worker, now), "a")):
        with context_at(now, each).once(key) as first:
            assert first


def test_a_nested_block_of_a_key_comes_second(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    with context.once("mail") as outer:
        with context.once("mail") as inner:
            assert not inner
        assert outer
    assert OnceKey.objects.get().final


def test_an_exception_frees_the_key(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    for error in (ValueError, LeaseLost):
        with pytest.raises(error), context.once("mail"):
            raise error
    assert not OnceKey.objects.exists()
    with context.once("mail") as first:
        assert first


@pytest.mark.parametrize("ttl", [60, timedelta(minutes=1)])
def test_a_key_can_be_reused_after_its_ttl(run: Run, now: datetime, ttl: float | timedelta) -> None:
    for minute, first in enumerate((True, True, True)):
        moment = now + timedelta(minutes=minute)
        with context_at(moment, run).once("mail", ttl=ttl) as told:
            assert told is first
        with context_at(moment + timedelta(seconds=59.9), run).once("mail", ttl=ttl) as told:
            assert not told
    assert OnceKey.objects.get().expires_at == now + timedelta(minutes=3)


def test_the_next_attempt_takes_a_dead_ones_key(run: Run, worker: Worker, now: datetime) -> None:
    held = context_at(now, run).once("mail")
    assert held.__enter__()
    following = another_attempt(run, worker, now)
    with context_at(now, following).once("mail") as first:
        assert first
        with pytest.raises(LeaseLost, match=r"Attempt 1 of execution \d+ no longer holds the key"):
            held.__exit__(None, None, None)
        assert not OnceKey.objects.get().final
    assert OnceKey.objects.get().attempt == 2
    with context_at(now, run).once("mail") as first:
        assert not first


def test_an_ended_attempt_takes_no_held_key(run: Run, worker: Worker, now: datetime) -> None:
    following = another_attempt(run, worker, now)
    with context_at(now, following).once("mail"), context_at(now, run).once("mail") as first:
        assert not first


def test_a_key_is_free_once_its_holder_ended(run: Run, worker: Worker, now: datetime) -> None:
    assert context_at(now, run).once("mail").__enter__()
    other = begin("one", worker, now)
    for status in ("running", "queued"):
        Execution.objects.filter(pk=run.execution_id).update(status=status)
        with context_at(now, other).once("mail") as first:
            assert not first
    Execution.objects.filter(pk=run.execution_id).update(status="failed")
    with context_at(now, other).once("mail") as first:
        assert first


def test_a_deleted_executions_key_is_free(run: Run, worker: Worker, now: datetime) -> None:
    assert context_at(now, replace(run, execution_id=10**9)).once("mail").__enter__()
    with context_at(now, run).once("mail") as first:
        assert first


def test_inside_a_transaction_the_key_goes_with_it(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    with transaction.atomic():
        with context.once("mail") as first:
            assert first
            Group.objects.create(name="done")
        transaction.set_rollback(True)
    assert not OnceKey.objects.exists()
    with transaction.atomic(), context.once("mail") as first:
        assert first
        Group.objects.create(name="done")
    assert OnceKey.objects.get().final
    assert Group.objects.count() == 1


def test_losing_the_key_takes_the_effect_back(run: Run, worker: Worker, now: datetime) -> None:
    held = context_at(now, run).once("mail")
    assert held.__enter__()
    OnceKey.objects.update(token="somebody else's")
    with pytest.raises(LeaseLost):
        end_with_an_effect(held)
    assert not Group.objects.exists()


def end_with_an_effect(held: OnceBlock) -> None:
    with transaction.atomic():
        Group.objects.create(name="done")
        held.__exit__(None, None, None)


def test_an_exception_in_a_transaction_frees_the_key(run: Run, now: datetime) -> None:
    context = context_at(now, run)
    with transaction.atomic():
        with pytest.raises(ValueError, match="no"), context.once("mail"):
            raise ValueError("no")
        Group.objects.create(name="beside it")
    assert not OnceKey.objects.exists()
    assert Group.objects.exists()


@pytest.mark.parametrize("savepoint", [True, False])
def test_a_database_error_is_raised_unchanged(
    run: Run,
    now: datetime,
    savepoint: bool,  # noqa: FBT001
) -> None:
    Group.objects.create(name="there")
    once = context_at(now, run).once("mail")
    inner = transaction.atomic(savepoint=savepoint)
    with pytest.raises(IntegrityError), transaction.atomic(), once, inner:
        Group.objects.create(name="there")
    assert not OnceKey.objects.exists()


def test_an_error_without_a_connection_is_raised_unchanged(run: Run, now: datetime) -> None:
    connection.ensure_connection()
    with pytest.raises(Error), context_at(now, run).once("mail"):
        do_on_a_closed_connection()
    connection.close()
    assert not OnceKey.objects.get().final


def do_on_a_closed_connection() -> None:
    connection.connection.close()
    Group.objects.create(name="done")


def test_async_handlers_use_once_on_their_synchronous_connection(run: Run, now: datetime) -> None:
    context = context_at(now, run)

    async def handler() -> list[bool]:
        told = []
        for key in ("a", "a", "b"):
            async with context.once(key, ttl=1) as first:
                told.append(first)
                await asyncio.sleep(0)
        with pytest.raises(ValueError, match="no"):
            async with context.once("c"):
                raise ValueError("no")
        async with context.once("c") as first:
            told.append(first)
        return told

    with transaction.atomic():
        assert async_to_sync(handler)() == [True, False, True, True]
        transaction.set_rollback(True)
    assert not OnceKey.objects.exists()


@pytest.mark.parametrize("key", ["", "x" * 201, "nul \0", "\ud800", 7, None])
def test_what_no_database_can_hold_is_no_key(run: Run, now: datetime, key: Any) -> None:
    with pytest.raises(ValueError, match="A key is text of 1 to 200 characters, not"):
        context_at(now, run).once(key)


@pytest.mark.parametrize(
    "ttl",
    [0, -1, float("nan"), float("inf"), timedelta(), 1e12, 10**5000, "5", Decimal("NaN")],
    ids=lambda _: "",
)
def test_a_ttl_is_some_time(run: Run, now: datetime, ttl: Any) -> None:
    with pytest.raises(ValueError, match="A ttl is more than 0 seconds"):
        context_at(now, run).once("mail", ttl=ttl)


def test_longest_key_and_ttl_can_be_stored(run: Run, now: datetime) -> None:
    with context_at(now, run).once("é" * 200, ttl=timedelta(days=36_500)) as first:
        assert first


def test_expired_keys_are_pruned_some_at_a_time(run: Run, now: datetime) -> None:
    for number in range(5):
        with context_at(now, run).once(str(number), ttl=60 * (number + 1)):
            pass
    for key in ("for ever", "held"):
        block = context_at(now, run).once(key)
        block.__enter__()
    block = context_at(now, run).once("for ever")
    assert OnceKey.objects.filter(key="for ever").update(final=True)
    assert OnceKey.objects.prune(now, at_most=10) == 0
    later = now + timedelta(minutes=3)
    assert OnceKey.objects.prune(later, at_most=2) == 2
    assert OnceKey.objects.prune(later, at_most=2) == 1
    assert OnceKey.objects.prune(later, at_most=2) == 0
    kept = OnceKey.objects.order_by("key").values_list("key", flat=True)
    assert list(kept) == ["3", "4", "for ever", "held"]
