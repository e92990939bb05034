"""Pages of a long history, each row read once: first the page that is asked for, then the count."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest

#: Counting further would read millions of rows for each page.
MAX_COUNT = 10_000


def page_of(request: HttpRequest) -> int:
    """Return the number of the page that is asked for, 1 if there cannot be such a page."""
    text = request.GET.get(PAGE_VAR, "1")
    return int(text) if text.isdecimal() and 0 < len(text) <= len(str(MAX_COUNT)) else 1


class CappedPaginator(Paginator):
    """A paginator that counts up to MAX_COUNT rows; filters and search reach the rest.

    It reads the page ``asked`` before it counts. If that is the last page, the count is known, so a
    filter that finds little reads the table once.
    """

    asked = 1

    @cached_property
    def rows(self) -> list[Any]:
        """The rows of the page that is asked for, and one more if another page follows."""
        return list(self.object_list[self.before : self.before + self.per_page + 1])

    @property
    def before(self) -> int:
        """The number of rows on the pages before the one that is asked for."""
        return max(self.asked - 1, 0) * self.per_page

    @cached_property
    def count(self) -> int:
        if len(self.rows) > self.per_page:
            return min(MAX_COUNT, self.before + len(self.rows) + self.count_rest())
        if self.rows or not self.before:
            return min(MAX_COUNT, self.before + len(self.rows))
        return capped_count(self.object_list, MAX_COUNT)

    @property
    def is_capped(self) -> bool:
        """Whether there may be more rows than were counted."""
        return self.count >= MAX_COUNT

    def count_rest(self) -> int:
        """Count what follows the rows that were read."""
        rows: QuerySet[Any] = self.object_list  # type: ignore[assignment]
        last = self.rows[-1].pk
        known = self.before + len(self.rows)
        match rows.query.order_by:
            case ("-pk", *_):
                return capped_count(rows.filter(pk__lt=last), MAX_COUNT - known)
            case ("pk", *_):
                return capped_count(rows.filter(pk__gt=last), MAX_COUNT - known)
        return capped_count(rows, MAX_COUNT) - known

    def page(self, number: int | str) -> Page[Any]:
        if self.validate_number(number) != self.asked:
            return super().page(number)
        return Page(self.rows[: self.per_page], self.asked, self)


class HistoryChangeList(ChangeList):
    """A list that shows the rows that its paginator has read."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Django would fetch them again if there is one page only, whichever was asked for.
        if not self.multi_page and not self.paginator.before:
            self.result_list = self.paginator.rows


def capped_count(rows: Any, limit: int) -> int:
    """Count rows, up to a limit."""
    # With the limit in a subquery, the database stops reading there.
    return int(rows.order_by().values("pk")[:limit].count()) if limit > 0 else 0
