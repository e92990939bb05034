"""The script: what is done in every run, and when."""

from __future__ import annotations

from itertools import islice, pairwise

from tests.chaos.enough import LONG_ENOUGH
from tests.chaos.script import DECK, MAX_ROUND_SECONDS, acts

ROUND = sum(times for times, _ in DECK.values())


def test_a_seed_gives_the_same_acts_again() -> None:
    once, again, other = (list(islice(acts(seed), ROUND)) for seed in (1, 1, 2))
    assert once == again != other


def test_every_act_fits_into_an_ordinary_run() -> None:
    script = list(islice(acts(1), ROUND))
    assert {act.what for act in script} == set(DECK)
    assert script[-1].at + script[-1].rest < MAX_ROUND_SECONDS < LONG_ENOUGH


def test_everybody_is_left_alone_after_a_long_act() -> None:
    for act, following in pairwise(islice(acts(1), ROUND)):
        assert following.at > act.at + act.rest
