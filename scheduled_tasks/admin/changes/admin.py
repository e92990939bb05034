"""Changes of tasks: who changed what, and when."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import HistoryAdmin
from scheduled_tasks.admin.changes import differences
from scheduled_tasks.admin.filters import OneTaskFilter
from scheduled_tasks.admin.links import task_link, url
from scheduled_tasks.admin.text_files import text_file, whole_json
from scheduled_tasks.models import TaskChange


@admin.register(TaskChange)
class TaskChangeAdmin(HistoryAdmin):
    """The changes of all tasks, newest first, including deleted tasks."""

    list_display = ("changed_moment", "task_name", "action_badge", "changed_by", "summary")
    list_filter = (OneTaskFilter, "action")
    search_fields = ("task_name", "changed_by")
    search_help_text = _("Search by task name or user")
    fields = ("task_page", "action_badge", "changed_moment", "changed_by", "reason", "values")

    def for_lists(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return differences.for_lists(queryset)

    def has_delete_permission(self, request: HttpRequest, obj: TaskChange | None = None) -> bool:
        """Refuse: an audit trail with gaps proves nothing."""
        return False

    @admin.display(description=_("when"))
    def changed_moment(self, change: TaskChange) -> str:
        return display.moment(change.changed_at)

    @admin.display(description=_("action"))
    def action_badge(self, change: TaskChange) -> str:
        return display.badge(change.action, change.get_action_display())

    @admin.display(description=_("task"))
    def task_page(self, change: TaskChange) -> str:
        """Link to the task while it exists."""
        return task_link(self.admin_site, change)

    @admin.display(description=_("changes"))
    def summary(self, change: TaskChange) -> str:
        """Return one line per field, or the reason of the engine."""
        return format_html('<div class="st-differences">{}</div>', differences.summary(change))

    @admin.display(description=_("fields"))
    def values(self, change: TaskChange) -> str:
        whole = url(self.admin_site, "taskchange_download", change.pk)
        return differences.table(change, whole)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.download_view)
        own = path("<int:pk>/fields.txt", view, name="scheduled_tasks_taskchange_download")
        return [own, *super().get_urls()]

    def download_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """Return the fields in full without secrets. Raise Http404 or PermissionDenied."""
        change: TaskChange | None = self.get_object(request, str(pk))
        if change is None:
            raise Http404
        if not self.has_view_permission(request, change):
            raise PermissionDenied
        return text_file([whole_json(change.fields)], f"change-{change.pk}.txt")
