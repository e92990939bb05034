"""The number of rows of a transaction, learned from how long the last one took."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

#: Seconds that a batch is meant to take: a slot that comes meanwhile may wait for it.
GOAL_SECONDS = 0.02
#: SQLite has a limit of parameters, and one of them is needed for each row.
MIN_ROWS, MAX_ROWS, MAX_ROWS_ALONE = 10, 2_000, 500
FIRST_ROWS = 100
#: The size grows at most by this factor at a time: the next rows may take longer.
MAX_GROWTH = 1.5


class BatchSize:
    """Grows while transactions are fast, and shrinks at once when one is slow."""

    def __init__(self, *, alone: bool) -> None:
        self.largest = MAX_ROWS_ALONE if alone else MAX_ROWS
        self.rows = FIRST_ROWS

    def learn(self, rows: int, seconds: float) -> None:
        """Set the size after a transaction of so many rows."""
        fitting = round(rows * GOAL_SECONDS / max(seconds, 0.001))
        largest = min(self.largest, round(self.rows * MAX_GROWTH))
        # A small rest that was fast says little: what a transaction costs counts for it.
        if seconds > GOAL_SECONDS or rows >= self.rows / 2:
            self.rows = min(max(fitting, MIN_ROWS), largest)

    def split(self, items: Iterable[Item], weight: Callable[[Item], int]) -> Iterator[list[Item]]:
        """Yield the items in lists whose weights add up to the size of the moment.

        An item that is heavier has a list of its own.
        """
        part: list[Item] = []
        total = 0
        for item in items:
            if part and total + weight(item) > self.rows:
                yield part
                part, total = [], 0
            part.append(item)
            total += weight(item)
        if part:
            yield part
