"""Paging that never counts millions of rows."""

from __future__ import annotations

from functools import cached_property

from django.core.paginator import Paginator
from django.db.models import QuerySet

COUNTED_AT_MOST = 10_000


class CappedPaginator(Paginator):
    """Counts no further than COUNTED_AT_MOST; filters and search reach what lies beyond."""

    @cached_property
    def count(self) -> int:
        """Return the number of rows, or the cap."""
        rows: QuerySet = self.object_list  # type: ignore[assignment]
        return rows.order_by().values("pk")[:COUNTED_AT_MOST].count()
