"""Walks through a large table in steps that each read few rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TypeVar

from django.db import models

Row = TypeVar("Row", bound=models.Model)


def windows(
    rows: models.QuerySet[Row],
    *,
    made_at: str,
    before: datetime,
    size: int,
    step: Callable[[], AbstractContextManager[None]],
) -> Iterator[models.QuerySet[Row]]:
    """Yield the rows by ascending id, ``size`` at a time, up to those that were made later.

    ``made_at`` is the column that grows with the id. It need not have an index, and single rows may
    have a wrong time: the walk ends where a whole window was made after ``before``. Each query is
    in a ``step`` of the caller.
    """
    after = 0
    while True:
        window = rows.filter(pk__gt=after).order_by("pk")[:size].values("pk", made_at)
        with step():
            found = window.aggregate(last=models.Max("pk"), earliest=models.Min(made_at))
        if found["last"] is None or found["earliest"] >= before:
            return
        yield rows.filter(pk__gt=after, pk__lte=found["last"])
        after = found["last"]
