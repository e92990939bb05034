"""Every operation of the engine against every other, stopped at each of its statements.

In short, the first of each pair stops once before it writes and once at random; without row locks
at every sixth statement. At length, all interleavings of two are played in which one stops once,
and a sample of those of three. INTERLEAVINGS=5000 plays a larger sample, and INTERLEAVINGS=all all
of them, which takes hours. INTERLEAVINGS_SEED names another sample.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator

import pytest
from django.db import connection

from tests.concurrency import moves
from tests.concurrency.interleaving import (
    READ_COMMITTED,
    REPEATABLE_READ,
    stage,
    take_locks_away,
    try_again_at_once,
    waiting_for_no_disk,
)
from tests.concurrency.moves import Move
from tests.concurrency.scenarios import MOVES, OF_ENGINE, WITH_VARIANTS, Scenario, Theatre
from tests.concurrency.world import KeptWorlds

pytestmark = pytest.mark.django_db(transaction=True)

#: How many interleavings of three are played at each isolation level, or "all".
SAMPLE = os.environ.get("INTERLEAVINGS", "60")
#: Marks what is played where INTERLEAVINGS is set, or with ``--long``.
AT_LENGTH = () if "INTERLEAVINGS" in os.environ else (pytest.mark.long,)
#: In which order those that have stopped go on.
ORDERS = ((1, 0), (0, 1))
SEED = int(os.environ.get("INTERLEAVINGS_SEED", "1"))


@pytest.fixture(params=[READ_COMMITTED, pytest.param(REPEATABLE_READ, marks=AT_LENGTH)])
def theatre(
    request: pytest.FixtureRequest, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Theatre]:
    skip_unless_postgresql()
    try_again_at_once(monkeypatch)
    worlds = KeptWorlds()
    with waiting_for_no_disk(), stage(request.param) as opened:
        yield Theatre(opened, worlds)
    worlds.close()


@pytest.fixture
def theatre_without_locks(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Theatre]:
    skip_unless_postgresql()
    try_again_at_once(monkeypatch)
    worlds = KeptWorlds()
    with waiting_for_no_disk(), stage(READ_COMMITTED, prepare=take_locks_away) as opened:
        yield Theatre(opened, worlds, locks=False)
    worlds.close()


def skip_unless_postgresql() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("This database locks whole files, not rows.")


@pytest.mark.parametrize(
    "first", [pytest.param(move, marks=AT_LENGTH, id=move.__name__) for move in MOVES]
)
def test_two_operations(first: Move, theatre: Theatre) -> None:
    """The first stops at each of its statements, and the second goes as far as it can."""
    pairs = [(first, second) for second in MOVES]
    theatre.assert_sound([scenario for pair in pairs for scenario in each_stop(pair, theatre)])


@pytest.mark.parametrize("first", MOVES, ids=lambda move: move.__name__)
def test_two_operations_that_stop_once(first: Move, theatre: Theatre) -> None:
    """The first stops before it writes, or at random, and the second goes as far as it can."""
    pairs = [(first, second) for second in MOVES]
    theatre.assert_sound([scenario for pair in pairs for scenario in two_stops(pair, theatre)])


@pytest.mark.parametrize("first", [moves.claim, moves.claim_by_hand], ids=["all", "by hand"])
def test_two_claims_of_different_executions(first: Move, theatre: Theatre) -> None:
    """What the two would take are different rows, so that the unique column decides."""
    pair = first, (moves.claim_by_hand if first is moves.claim else moves.claim)
    theatre.assert_sound(each_stop(pair, theatre))


@pytest.mark.parametrize("part", [6, pytest.param(1, marks=AT_LENGTH)], ids=["short", "long"])
@pytest.mark.parametrize("first", OF_ENGINE, ids=lambda move: move.__name__)
def test_two_operations_without_row_locks(
    first: Move, part: int, theatre_without_locks: Theatre
) -> None:
    """No run is made twice, and none is lost, even where guarded updates are all there is.

    In short, every sixth stop is played.
    """
    theatre = theatre_without_locks
    pairs = [(first, second) for second in OF_ENGINE]
    scenarios = [scenario for pair in pairs for scenario in each_stop(pair, theatre)]
    theatre.assert_sound(scenarios[::part])


@pytest.mark.parametrize("sample", [pytest.param(SAMPLE, marks=AT_LENGTH)])
def test_three_operations(theatre: Theatre, sample: str) -> None:
    """Two stop, at any of their statements, and the third goes as far as it can."""
    triples = list(itertools.product(WITH_VARIANTS, repeat=3))
    chosen = random.Random(SEED)
    if sample == "all":
        scenarios = [
            three_in_turn(three, a, b, then)
            for three in triples
            for a in theatre.steps_of(0, Scenario(three))
            for b in theatre.steps_of(1, Scenario(three))
            for then in ORDERS
        ]
    else:
        scenarios = [
            three_in_turn(
                three,
                chosen.choice(theatre.steps_of(0, Scenario(three))),
                chosen.choice(theatre.steps_of(1, Scenario(three))),
                chosen.choice(ORDERS),
            )
            for three in chosen.choices(triples, k=int(sample))
        ]
    theatre.assert_sound(scenarios)


def each_stop(pair: tuple[Move, Move], theatre: Theatre) -> list[Scenario]:
    """Return all interleavings of two operations where the first stops once."""
    return [two_in_turn(pair, stop) for stop in theatre.steps_of(0, Scenario(pair))]


def two_stops(pair: tuple[Move, Move], theatre: Theatre) -> list[Scenario]:
    """Return two of them, the same each time: one where guards matter, and one at random."""
    chosen = random.Random(f"{SEED} {pair[0].__name__} {pair[1].__name__}")
    stops = {
        theatre.first_write_of(0, Scenario(pair)),
        chosen.choice(theatre.steps_of(0, Scenario(pair))),
    }
    return [two_in_turn(pair, stop) for stop in sorted(stops)]


def two_in_turn(pair: tuple[Move, Move], stop: int) -> Scenario:
    """Stop the first after some steps for the second."""
    return Scenario(pair, ((0, stop), (1, None), (0, None)))


def three_in_turn(
    three: tuple[Move, Move, Move], first: int, second: int, then: tuple[int, int]
) -> Scenario:
    """Stop the first and the second after some steps for the third; then go on in an order."""
    schedule = ((0, first), (1, second), (2, None), *((number, None) for number in then))
    return Scenario(three, schedule)
