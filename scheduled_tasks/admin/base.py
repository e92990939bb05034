"""Base classes of the admin: the looks, read-only rows, and long histories."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils.text import capfirst

#: Counting further would read millions of rows for each page.
MAX_COUNT = 10_000


class StyledAdmin(admin.ModelAdmin):
    """An admin with coloured statuses, and times in the time zone of the browser."""

    class Media:
        """Separate files, so that a Content-Security-Policy can forbid everything inline."""

        css = {"all": ("scheduled_tasks/admin.css",)}
        js = ("scheduled_tasks/local_times.js",)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Show the list under the name of its rows, not as "Select … to change"."""
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return super().changelist_view(request, context)  # type: ignore[return-value]


class ReadOnlyAdmin(StyledAdmin):
    """An admin for rows that the engine writes: nothing can be added or changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class CappedPaginator(Paginator):
    """A paginator that counts up to MAX_COUNT rows; filters and search reach the rest."""

    @cached_property
    def count(self) -> int:
        rows: QuerySet = self.object_list  # type: ignore[assignment]
        # With the limit in a subquery, the database stops reading there.
        return rows.order_by().values("pk")[:MAX_COUNT].count()


class HistoryAdmin(ReadOnlyAdmin):
    """An admin whose list stays fast with millions of rows."""

    sortable_by: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False
    # Facets count the whole table once per choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        queryset: QuerySet[Any] = super().get_queryset(request)
        # Django calls this for every view; other views need all columns of their one row.
        match = request.resolver_match
        if match and match.url_name and match.url_name.endswith("_changelist"):
            return self.for_lists(queryset)
        return queryset

    def for_lists(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Defer the columns that lists do not show."""
        return queryset
