"""Records of what happened, millions of them: looked at and filtered, never counted or edited."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from scheduled_tasks.admin.paging import CappedPaginator
from scheduled_tasks.admin.read_only import ReadOnlyAdmin


class HistoryAdmin(ReadOnlyAdmin):
    """An admin whose list stays fast however long the history is."""

    sortable_by: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Read no more for lists than they show."""
        queryset: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        if match and match.url_name and match.url_name.endswith("_changelist"):
            return self.for_lists(queryset)
        return queryset

    def for_lists(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave in the database what lists do not show."""
        return queryset
