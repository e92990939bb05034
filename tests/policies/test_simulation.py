"""A year of fifty tasks, by the engine and by the model of its rules.

The engine and the model get the same random events from a seed, and are compared after each. A
seed that fails prints its number, what is wrong, and what happened to the task before. The long
form, about five seconds for a seed::

    SIMULATION_SEEDS=1000 python -m tests tests/policies/test_simulation.py
"""

from __future__ import annotations

import os

import pytest

from tests.policies.year import Year

pytestmark = pytest.mark.django_db

SEEDS = range(int(os.environ.get("SIMULATION_SEEDS", "1")))
TASKS, EVENTS = 50, 600


@pytest.mark.parametrize("seed", SEEDS)
def test_a_year_goes_by_the_rules(seed: int) -> None:
    Year(seed, tasks=TASKS, events=EVENTS).tell()
