"""Every operation against every other in two processes on one SQLite file, again and again.

SQLite lets nobody stop between two statements of a transaction: who writes keeps all others out.
So two processes race, and start by a little less or more apart each time. The long form::

    RACES=50 python -m pytest tests/concurrency/test_interleavings_sqlite.py
"""

from __future__ import annotations

import itertools
import random

import pytest
from django.db import connection

from tests.concurrency.racer import Racers, racers
from tests.concurrency.scenarios import WITH_VARIANTS, Scenario
from tests.concurrency.soundness import two_running, unsound
from tests.concurrency.world import make_world
from tests.support.lengths import short_and_long
from tests.support.processes import environment_of

pytestmark = pytest.mark.django_db(transaction=True)

#: By how many seconds one starts after the other at most: about as long as an operation takes.
APART = 0.006
SEED = 1
#: The short form takes every third pair.
SHORT_STEP = 3


@pytest.mark.parametrize("races", short_and_long("RACES", short=0, long=15))
def test_two_operations_in_two_processes(races: int) -> None:
    """The short form races every third pair, once."""
    if connection.vendor != "sqlite":
        pytest.skip("Other databases lock rows: there the operations are stopped one by one.")
    chosen = random.Random(SEED)
    with racers(2, environment_of()) as processes:
        pairs = list(itertools.combinations_with_replacement(WITH_VARIANTS, 2))
        for pair in pairs if races else pairs[::SHORT_STEP]:
            for _ in range(races or 1):
                race(Scenario(pair), processes, chosen.uniform(-APART, APART))


def race(scenario: Scenario, processes: Racers, apart: float) -> None:
    """Make two moves at once in a new world, and hold it to be sound then."""
    world = make_world(*scenario.world)
    first, second = (move.__name__ for move in scenario.moves)
    raced = processes.race((first, world, 0, max(apart, 0)), (second, world, 1, max(-apart, 0)))
    complaints = [f"raised: {raised}" for raised, _ in raced if raised]
    for _, known in raced:
        world.claims += known.claims
        world.requeued += known.requeued
        world.resolved += known.resolved
    complaints += two_running() + unsound(world)
    assert not complaints, f"{scenario} {apart * 1000:.1f} ms apart: {complaints}"
