"""Base classes of the admin: the looks, read-only rows, and long histories."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from scheduled_tasks.admin.pagination import CappedPaginator, HistoryChangeList, page_of
from scheduled_tasks.admin.query_string import (
    can_be_searched,
    is_number,
    offered_lookups,
    problem_of,
    was_refused,
)
from scheduled_tasks.admin.typed_times import MomentWidget, typed_zone


class StyledAdmin(admin.ModelAdmin):
    """An admin with coloured statuses, and times in the time zone of the browser."""

    class Media:
        """Separate files, so that a Content-Security-Policy can forbid everything inline."""

        css = {"all": ("scheduled_tasks/admin.css",)}
        js = ("scheduled_tasks/local_times.js",)

    formfield_overrides: ClassVar[Any] = {models.DateTimeField: {"widget": MomentWidget}}

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        with typed_zone(request):
            return super().changeform_view(request, *args, **options)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show the list under the name of its rows, not as "Select … to change".

        A query string that no list can use leads to the whole list, with a sentence.
        """
        if problem := problem_of(request.GET):
            self.message_user(request, problem, messages.WARNING)
            return HttpResponseRedirect(request.path)
        if was_refused(request):
            refused = _("This list has no such filter, value or page. All rows are shown.")
            self.message_user(request, refused, messages.WARNING)
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        with typed_zone(request):
            return super().changelist_view(request, context)

    def lookup_allowed(self, lookup: str, value: Any, request: Any = None) -> bool:
        """Allow what the filters of the list offer; Django would allow every column."""
        return lookup in set(offered_lookups(self.get_list_filter(request)))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        if not can_be_searched(search_term):
            return queryset.none(), False
        return super().get_search_results(request, queryset, search_term)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row with that id, None for what cannot be the number of a row."""
        pk = self.opts.pk
        # Django takes an empty ``_to_field`` for the name of a field.
        from_field = from_field or None
        if from_field is None and isinstance(pk, models.IntegerField) and not is_number(object_id):
            return None
        return super().get_object(request, object_id, from_field)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return values for a new row from the query string, without times that are none."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        for name in {field.name for field in self.opts.fields if is_moment(field)} & set(initial):
            try:
                initial[name] = forms.DateTimeField().to_python(initial[name])
            except ValidationError:
                del initial[name]
        return initial


def is_moment(field: models.Field[Any, Any]) -> bool:
    return isinstance(field, models.DateTimeField)


class ReadOnlyAdmin(StyledAdmin):
    """An admin for rows that the engine writes: nothing can be added or changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class HistoryAdmin(ReadOnlyAdmin):
    """An admin whose list stays fast with millions of rows."""

    sortable_by: ClassVar[tuple[str, ...]] = ()
    show_full_result_count = False
    # Facets count the whole table once per choice of each filter.
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return HistoryChangeList

    def get_paginator(self, request: HttpRequest, *args: Any, **options: Any) -> Paginator:
        paginator = super().get_paginator(request, *args, **options)
        if isinstance(paginator, CappedPaginator):
            paginator.asked = page_of(request)
        return paginator

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
