"""Histograms of durations: what they add up to, and how far off a quantile is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduled_tasks.monitoring.rollups import histograms
from scheduled_tasks.monitoring.rollups.histograms import BOUNDS, WEEK_MS, Histogram

pytestmark = pytest.mark.without_database

durations = st.lists(st.integers(0, WEEK_MS), max_size=50)


def histogram_of(values: Iterable[int]) -> Histogram:
    made: Histogram = {}
    for value in values:
        histograms.add(made, value)
    return made


@given(durations, durations)
def test_a_sum_is_the_histogram_of_all(first: list[int], second: list[int]) -> None:
    merged = histogram_of(first)
    histograms.merge(merged, histogram_of(second))
    assert merged == histogram_of(first + second)


@given(durations.filter(bool), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_quantiles_are_nearly_exact(values: list[int], share: float) -> None:
    exact = sorted(values)[max(ceil(share * len(values)), 1) - 1]
    found = histograms.quantile(histogram_of(values), share, maximum=max(values))
    assert found is not None
    assert abs(found - exact) <= max(0.15 * exact, 1)


@given(durations)
def test_a_histogram_is_json(values: list[int]) -> None:
    made = histogram_of(values)
    assert json.loads(json.dumps(made)) == made
    assert histograms.total(made) == len(values)


@given(durations)
def test_cumulative_counts_are_exact(values: list[int]) -> None:
    expected = [sum(value <= bound for value in values) for bound in BOUNDS]
    assert histograms.cumulative(histogram_of(values), BOUNDS) == expected


def test_what_is_longer_than_a_week_counts() -> None:
    made = histogram_of([3 * WEEK_MS])
    assert made == {str(WEEK_MS): 1}
    assert histograms.quantile(histogram_of([5]), 0.5, maximum=5) == 5


def test_without_values_there_is_no_quantile() -> None:
    assert histograms.quantile({}, 0.5, maximum=0) is None


def test_there_are_few_buckets() -> None:
    assert len(BOUNDS) < 75
    assert (BOUNDS[0], BOUNDS[-1]) == (1, WEEK_MS)
