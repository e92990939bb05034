"""Executions: what ran, what did not, and why."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.filters import OneTaskFilter, QueueFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.paging import CappedPaginator
from scheduled_tasks.admin.read_only import ReadOnlyAdmin
from scheduled_tasks.models import Execution, Task

#: Columns that may be long: lists leave them in the database.
LONG_COLUMNS = (
    "payload",
    "checkpoint",
    "progress",
    "result",
    "reason",
    "error",
    "traceback",
    "resolution",
)


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """The history of all tasks, newest first."""

    list_display = (
        "number",
        "task_name",
        "status_badge",
        "trigger",
        "scheduled_moment",
        "delay",
        "duration",
        "worker_label",
    )
    list_filter = (OneTaskFilter, "status", "trigger", QueueFilter)
    search_fields = ("task_name__startswith",)
    search_help_text = _("The beginning of a task's name")
    sortable_by = ("number",)  # no index serves the other orders
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = CappedPaginator
    list_per_page = 50
    summary = ("task_link", "status_badge", "reason", "trigger", "triggered_by", "handler")
    seldom = ("reason", "triggered_by")
    failure = (
        _("Failure"),
        {"fields": ("error_category", "error_text", "traceback_text", "error_fingerprint")},
    )
    further = (
        (_("What went in and came out"), {"fields": ("payload_text", "result_text")}),
        (
            _("Times"),
            {
                "fields": (
                    ("scheduled_moment", "created_moment"),
                    ("claimed_moment", "started_moment"),
                    ("finished_moment", "duration"),
                )
            },
        ),
        (_("Run"), {"fields": (("attempt", "losses"), ("queue", "priority"), "worker_label")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        """Leave long columns out of lists."""
        queryset: QuerySet[Any] = super().get_queryset(request)
        match = request.resolver_match
        if match and match.url_name and match.url_name.endswith("_changelist"):
            return queryset.defer(*LONG_COLUMNS)
        return queryset

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put the failure on top, where there is one, and leave out what there is not."""
        fields = [name for name in self.summary if name not in self.seldom or getattr(obj, name)]
        failed = obj.error or obj.error_category
        return ((None, {"fields": fields}), *((self.failure,) if failed else ()), *self.further)

    @admin.display(description=_("number"), ordering="pk")
    def number(self, execution: Execution) -> str:
        """Return the number of the execution."""
        return f"#{execution.pk}"

    @admin.display(description=_("status"))
    def status_badge(self, execution: Execution) -> str:
        """Return the status in colour."""
        return display.badge(execution.status, execution.get_status_display())

    @admin.display(description=_("task"))
    def task_link(self, execution: Execution) -> str:
        """Link to the task while it exists."""
        if execution.task_id is None:
            return _("%s (deleted)") % execution.task_name
        if not self.admin_site.is_registered(Task):
            return execution.task_name
        page = url(self.admin_site, "task_change", execution.task_id)
        return format_html('<a href="{}">{}</a>', page, execution.task_name)

    @admin.display(description=_("scheduled for"))
    def scheduled_moment(self, execution: Execution) -> str:
        """Return the logical time."""
        return display.moment(execution.scheduled_for)

    @admin.display(description=_("created"))
    def created_moment(self, execution: Execution) -> str:
        """Return when it was queued."""
        return display.moment(execution.created_at)

    @admin.display(description=_("claimed"))
    def claimed_moment(self, execution: Execution) -> str:
        """Return when a worker took it."""
        return display.moment(execution.claimed_at)

    @admin.display(description=_("started"))
    def started_moment(self, execution: Execution) -> str:
        """Return when the handler was called, or its worker took it."""
        return display.moment(execution.started_at or execution.claimed_at)

    @admin.display(description=_("finished"))
    def finished_moment(self, execution: Execution) -> str:
        """Return when it ended."""
        return display.moment(execution.finished_at)

    @admin.display(description=_("delay"))
    def delay(self, execution: Execution) -> str:
        """Return how long it waited after the time at which it might have started."""
        return display.duration(delay(execution))

    @admin.display(description=_("duration"))
    def duration(self, execution: Execution) -> str:
        """Return how long the attempt took."""
        return display.duration(execution.duration_ms)

    @admin.display(description=_("payload"))
    def payload_text(self, execution: Execution) -> str:
        """Return the keyword arguments."""
        return display.pretty_json(execution.payload)

    @admin.display(description=_("result"))
    def result_text(self, execution: Execution) -> str:
        """Return what the handler returned."""
        return display.pretty_json(execution.result)

    @admin.display(description=_("error"))
    def error_text(self, execution: Execution) -> str:
        """Return the exception's message."""
        return display.preformatted(execution.error)

    @admin.display(description=_("traceback"))
    def traceback_text(self, execution: Execution) -> str:
        """Return where the exception came from."""
        return display.preformatted(execution.traceback)


def delay(execution: Execution) -> int | None:
    """Return how many milliseconds a run waited for a worker, None if it has not started."""
    started = execution.started_at or execution.claimed_at
    if started is None:
        return None
    return max(0, round((started - execution.run_after).total_seconds() * 1_000))
