"""Histograms of durations that can be added to each other.

A histogram is a dictionary of JSON: the number of values in each bucket, by the bucket's upper
bound in milliseconds, as text. There are eight buckets for each power of ten, from 1 ms to a week,
so a quantile is at most 15 % off, or 1 ms. Every histogram has the same buckets, so the sum of two
is exactly the histogram of all their values.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

Histogram = dict[str, int]

WEEK_MS = 7 * 24 * 3_600_000
BUCKETS_PER_DECADE = 8
#: The upper bounds in milliseconds. The last bucket also has all that is longer.
BOUNDS = sorted({int(10 ** (n / BUCKETS_PER_DECADE)) for n in range(71)} | {WEEK_MS})
KEYS = [str(bound) for bound in BOUNDS]


def add(histogram: Histogram, milliseconds: int) -> None:
    """Add a value."""
    key = KEYS[min(bisect_left(BOUNDS, milliseconds), len(BOUNDS) - 1)]
    histogram[key] = histogram.get(key, 0) + 1


def merge(histogram: Histogram, other: Histogram) -> None:
    """Add the values of another histogram."""
    for bound, count in other.items():
        histogram[bound] = histogram.get(bound, 0) + count


def total(histogram: Histogram) -> int:
    """Return the number of values."""
    return sum(histogram.values())


def quantile(histogram: Histogram, share: float, *, maximum: int) -> int | None:
    """Return about which value this share of the values is not above, None without values.

    ``maximum`` is the longest value, which is known exactly.
    """
    if not histogram:
        return None
    rank = max(share * total(histogram), 1)
    ordered = sorted((int(bound), count) for bound, count in histogram.items())
    reached = accumulate(count for _, count in ordered)
    bound = next(
        bound for (bound, _), passed in zip(ordered, reached, strict=True) if passed >= rank
    )
    # Not interpolated: the middle has a bounded error wherever in the bucket the values are.
    return min(middle(bound), maximum)


def middle(bound: int) -> int:
    """Return the value of a bucket that is off by the same share at both of its ends."""
    position = bisect_left(BOUNDS, bound)
    lowest = BOUNDS[position - 1] + 1 if position else 1
    return round(2 * lowest * bound / (lowest + bound))


def cumulative(histogram: Histogram, bounds: Iterable[int]) -> list[int]:
    """Return how many values are at most each of these bounds, which are some of BOUNDS."""
    counts = {int(bound): count for bound, count in histogram.items()}
    return [sum(count for key, count in counts.items() if key <= bound) for bound in bounds]
