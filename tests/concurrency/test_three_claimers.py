"""A slot, a run that was asked for and a retry of one task, claimed by three workers at once.

The long form::

    ROUNDS=1000 python -m tests tests/concurrency/test_three_claimers.py
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.db import connection, connections

from scheduled_tasks.lifecycle import claiming, ending
from scheduled_tasks.models import Execution, Worker
from tests.concurrency.interleaving import (
    take_locks_away,
    try_again_at_once,
    wait_for_no_disk,
    waiting_for_no_disk,
)
from tests.concurrency.soundness import two_running, unsound
from tests.concurrency.world import HANDLER, NOW, Status, World, make_world, outcome
from tests.support.lengths import short_and_long
from tests.support.processes import LONG

pytestmark = pytest.mark.django_db(transaction=True)

rounds = pytest.mark.parametrize("rounds", short_and_long("ROUNDS", short=10, long=200))
#: Which queues the three serve: one for all, so that all want the same row, and one for each.
QUEUES = (["default"] * 3, ["a", "b", "c"])
Claimers = Sequence[ThreadPoolExecutor]


@pytest.fixture
def claimers(transactional_db: None) -> Iterator[Claimers]:
    if connection.vendor == "sqlite":
        with threads(connection.ensure_connection) as opened:
            yield opened
    else:
        with waiting_for_no_disk(), threads(wait_for_no_disk) as opened:
            yield opened


@pytest.fixture
def claimers_without_locks(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Claimers]:
    if connection.vendor != "postgresql":
        pytest.skip("It takes PostgreSQL's row locks away; SQLite has none to begin with.")
    try_again_at_once(monkeypatch)
    with waiting_for_no_disk(), threads(take_locks_away) as opened:
        yield opened


@rounds
def test_three_claimers_at_once_run_one_by_one(claimers: Claimers, rounds: int) -> None:
    for number in range(rounds):
        assert_one_after_the_other(claimers, QUEUES[number % 2])


@rounds
def test_the_unique_column_alone_is_guard_enough(
    claimers_without_locks: Claimers, rounds: int
) -> None:
    for number in range(rounds):
        assert_one_after_the_other(claimers_without_locks, QUEUES[number % 2])


def assert_one_after_the_other(claimers: Claimers, queues: Sequence[str]) -> None:
    """Let three workers claim again and again what waits, until all of it has run.

    Each worker serves one of the queues, and in each there is one execution.
    """
    world = make_world()
    waiting = world.ids(Status.QUEUED, task=world.alone)
    for execution, queue in zip(waiting, queues, strict=True):
        Execution.objects.filter(pk=execution).update(queue=queue)
    ran: list[int] = []
    for _ in waiting:
        claimed = claimed_at_once(world, claimers, queues)
        assert two_running() == []
        of_task = [row for row in claimed if row.pk in waiting]
        assert len(of_task) == 1, "one of them runs, the others wait"
        ran += [row.pk for row in of_task]
        for row in claimed:
            end(row, world)
    assert sorted(ran) == waiting
    assert not {row.pk for row in claimed_at_once(world, claimers, queues)} & set(waiting)
    assert unsound(world) == []


def claimed_at_once(world: World, claimers: Claimers, queues: Sequence[str]) -> list[Execution]:
    """Let all workers claim at the same moment; return what they got together."""
    together = threading.Barrier(len(claimers))

    def claim(worker: Worker, queue: str) -> list[Execution]:
        together.wait(LONG)
        return claiming.claim(worker, NOW, limit=10, handlers=[HANDLER], queues=[queue]).rows

    futures = [
        claimer.submit(claim, worker, queue)
        for claimer, worker, queue in zip(claimers, world.workers, queues, strict=True)
    ]
    claimed = [row for future in futures for row in future.result(timeout=LONG)]
    world.claims += [(row.pk, row.attempt) for row in claimed]
    return claimed


def end(row: Execution, world: World) -> None:
    worker = next(worker for worker in world.workers if str(worker.pk) == row.worker)
    done = outcome(row.pk, row.attempt, failed=False)
    assert ending.end([done], worker, NOW) == [row]


@contextmanager
def threads(prepare: Callable[[], None]) -> Iterator[Claimers]:
    """Open three threads with connections of their own; ``prepare`` is called in each first."""
    pools = [ThreadPoolExecutor(max_workers=1) for _ in range(3)]
    try:
        for pool in pools:
            pool.submit(prepare).result(timeout=LONG)
        yield pools
    finally:
        for pool in pools:
            pool.submit(connections.close_all).result(timeout=LONG)
            pool.shutdown()
