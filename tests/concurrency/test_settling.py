"""Of two people, or a person and a worker, who settle one execution, one wins, the other is told.

Each stops at every one of its statements, and lets the other go as far as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection

from scheduled_tasks import cancel_execution, requeue_execution, resolve_execution
from scheduled_tasks.exceptions import TooLate
from scheduled_tasks.lifecycle import ending
from scheduled_tasks.models import Execution
from tests.concurrency.interleaving import (
    READ_COMMITTED,
    Played,
    Stage,
    stage,
    try_again_at_once,
    waiting_for_no_disk,
)
from tests.concurrency.world import NOW, KeptWorlds, Status, World, outcome

pytestmark = pytest.mark.django_db(transaction=True)

Settle = Callable[[World], Any]


@pytest.fixture
def opened(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    if connection.vendor != "postgresql":
        pytest.skip("This database locks whole files, not rows.")
    try_again_at_once(monkeypatch)
    with waiting_for_no_disk(), stage(READ_COMMITTED) as one:
        yield one


def failed(world: World) -> int:
    return world.ids(Status.FAILED, task=world.alone)[0]


def running(world: World) -> int:
    return world.ids(Status.RUNNING, task=world.alone)[0]


def requeue(world: World) -> Any:
    return requeue_execution(failed(world), by="ann")


def resolve(world: World) -> Any:
    return resolve_execution(failed(world), "Mended.", by="bob")


def cancel(world: World) -> Any:
    return cancel_execution(running(world), by="ann")


def end(world: World) -> Any:
    return ending.end([outcome(running(world), 1, failed=False)], world.gone, NOW)


def played(stage: Stage, worlds: KeptWorlds, *settle: Settle) -> Iterator[tuple[World, Played]]:
    """Play two against each other, the first stopped at each of its statements in turn."""
    world = worlds.make(busy=True, policy="skip")
    stage.play([partial(settle[0], world)], [(0, None)])
    for stop in range(stage.actors[0].position):
        world = worlds.make(busy=True, policy="skip")
        operations = [partial(one, world) for one in settle]
        yield world, stage.play(operations, [(0, stop), (1, None), (0, None)])


@pytest.fixture
def worlds(opened: Stage) -> Iterator[KeptWorlds]:
    kept = KeptWorlds()
    yield kept
    kept.close()


@pytest.mark.parametrize(
    "pair",
    [(requeue, requeue), (requeue, resolve), (resolve, requeue), (resolve, resolve)],
    ids=lambda pair: f"{pair[0].__name__}-{pair[1].__name__}",
)
def test_a_failure_is_settled_once(
    opened: Stage, worlds: KeptWorlds, pair: tuple[Settle, Settle]
) -> None:
    count = 0
    for world, what in played(opened, worlds, *pair):
        [error] = [error for error in what.errors if error is not None]
        row = Execution.objects.get(pk=failed(world))
        again = Execution.objects.filter(requeue_of=row).count()
        assert isinstance(error, TooLate)
        assert f"was resolved by {row.resolved_by} at" in str(error)
        assert again == row.resolution.startswith("Requeued as #")
        count += 1
    assert count > 3


@pytest.mark.parametrize("pair", [(cancel, end), (end, cancel)], ids=["cancel-end", "end-cancel"])
def test_cancelling_an_ended_run_is_an_error(
    opened: Stage, worlds: KeptWorlds, pair: tuple[Settle, Settle]
) -> None:
    outcomes = set()
    for world, what in played(opened, worlds, *pair):
        error = what.errors[pair.index(cancel)]
        row = Execution.objects.get(pk=running(world))
        assert row.status == "success"  # it returned, whether or not it was asked to stop
        assert (error is None) == (row.cancel_requested_at is not None)
        if error is not None:
            assert str(error) == f"Execution {row.pk} of 'alone' has already finished (success)."
        outcomes.add(error is None)
    assert outcomes == {True, False}


def test_of_two_who_cancel_one_is_told(opened: Stage, worlds: KeptWorlds) -> None:
    for world, what in played(opened, worlds, cancel, cancel):
        [error] = [error for error in what.errors if error is not None]
        assert "was asked to stop at" in str(error)
        assert Execution.objects.get(pk=running(world)).reason == "Cancelled by ann."
