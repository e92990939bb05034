"""Batches: an action on thousands of executions must not hold locks for long."""

from __future__ import annotations

from collections.abc import Collection, Iterator

#: Executions that one transaction moves.
BATCH_SIZE = 100


def batches(ids: Collection[int]) -> Iterator[list[int]]:
    """Yield the ids in ascending order, BATCH_SIZE at a time."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), BATCH_SIZE):
        yield ordered[start : start + BATCH_SIZE]
