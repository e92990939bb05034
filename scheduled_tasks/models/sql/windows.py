"""Walks through a large table in steps that each read few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)
Item = TypeVar("Item")


def windows(
    rows: models.QuerySet[Row],
    *,
    made_at: str,
    before: datetime,
    now: datetime,
    size: int,
    step: Callable[[], AbstractContextManager[None]],
) -> Iterator[models.QuerySet[Row]]:
    """Yield the rows by ascending id, ``size`` at a time, up to those that were made later.

    ``made_at`` is the column that grows with the id. It need not have an index, and rows may have a
    wrong time: the walk ends where a whole window was made after ``before``, unless all of it is
    later than ``now``. Each query is in a ``step`` of the caller.
    """
    after, is_last = 0, False
    while not is_last:
        window = rows.filter(pk__gt=after).order_by("pk")[:size].values("pk", made_at)
        with step():
            found = window.aggregate(
                last=models.Max("pk"), earliest=models.Min(made_at), count=models.Count("pk")
            )
        # A clock that was wrong says nothing of the rows behind these, for years perhaps.
        if found["last"] is None or before <= found["earliest"] <= now:
            return
        yield rows.filter(pk__gt=after, pk__lte=found["last"])
        # What is made during the walk is not walked through, or it might never end.
        after, is_last = found["last"], found["count"] < size


def pages(rows: models.QuerySet[Row], *, size: int) -> Iterator[list[Row]]:
    """Yield the rows by ascending id, ``size`` at a time, each page by a query of its own.

    Not ``iterator()``: behind a pooler, its cursor may be gone at the second fetch.
    """
    after = 0
    while page := list(rows.filter(pk__gt=after).order_by("pk")[:size]):
        yield page
        if len(page) < size:
            return
        after = page[-1].pk


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield the items in order, ``size`` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
