"""A year of fifty tasks, by the engine and by the model of its rules.

The engine and the model get the same random events from a seed, and are compared after each. A
seed that fails prints its number, what is wrong, and what happened to the task before. The long
form, about fifteen seconds for a seed::

    SIMULATION_SEEDS=1000 python -m tests tests/policies/test_simulation.py
"""

from __future__ import annotations

import os

import pytest

from tests.policies.year import Year

pytestmark = pytest.mark.django_db

#: By seed; without SIMULATION_SEEDS, the first is told in short, and the others only at length.
SEEDS = range(int(os.environ.get("SIMULATION_SEEDS", "0")))
LONG_SEEDS = [pytest.param(seed, marks=pytest.mark.long) for seed in range(6)]
TASKS, EVENTS = 50, 600


@pytest.mark.any_database
@pytest.mark.parametrize("seed", SEEDS or LONG_SEEDS)
def test_a_year_goes_by_the_rules(seed: int) -> None:
    Year(seed, tasks=TASKS, events=EVENTS).tell()


@pytest.mark.any_database
def test_a_year_of_few_tasks_follows_the_rules() -> None:
    Year(1, tasks=TASKS // 5, events=EVENTS // 6).tell()
