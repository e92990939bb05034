"""Batches: what people do to thousands of executions holds no lock for long."""

from __future__ import annotations

from collections.abc import Collection, Iterator

#: So many executions are moved in one transaction.
BATCH = 100


def batches(ids: Collection[int]) -> Iterator[list[int]]:
    """Yield the ids in ascending order, as many at a time as one transaction takes."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), BATCH):
        yield ordered[start : start + BATCH]
