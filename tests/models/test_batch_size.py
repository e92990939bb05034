"""The size of batches follows the time that they take."""

from __future__ import annotations

import pytest

from scheduled_tasks.models.sql.batch_size import (
    GOAL_SECONDS,
    MAX_ROWS,
    MAX_ROWS_ALONE,
    MIN_ROWS,
    BatchSize,
)

pytestmark = pytest.mark.without_database


def learned(size: BatchSize, *, seconds_per_row: float, times: int = 20) -> int:
    for _ in range(times):
        size.learn(size.rows, size.rows * seconds_per_row)
    return size.rows


@pytest.mark.parametrize("rows", [20, 200, 1_500])
def test_it_finds_the_size_that_fits(rows: int) -> None:
    size = BatchSize(alone=False)
    found = learned(size, seconds_per_row=GOAL_SECONDS / rows)
    assert found == pytest.approx(rows, rel=0.1)


def test_it_shrinks_at_once_and_grows_slowly() -> None:
    size = BatchSize(alone=False)
    size.learn(100, 0.001)
    assert size.rows == 150
    size.learn(150, 10 * GOAL_SECONDS)
    assert size.rows == 15


def test_it_has_bounds() -> None:
    assert learned(BatchSize(alone=False), seconds_per_row=0) == MAX_ROWS
    assert learned(BatchSize(alone=True), seconds_per_row=0) == MAX_ROWS_ALONE
    assert learned(BatchSize(alone=False), seconds_per_row=60) == MIN_ROWS


def test_a_small_rest_does_not_let_it_grow() -> None:
    size = BatchSize(alone=False)
    size.learn(3, 0.001)
    assert size.rows == 100
    size.learn(3, 1)
    assert size.rows == MIN_ROWS


def test_heavy_items_are_alone() -> None:
    size = BatchSize(alone=False)
    weights = [40, 60, 1, 500, 99, 2]
    assert list(size.split(weights, int)) == [[40, 60], [1], [500], [99], [2]]
    assert list(size.split([], int)) == []
