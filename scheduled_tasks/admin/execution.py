"""Executions: what ran, what did not, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.execution_log import log_of
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

#: What the page of an execution leaves out unless there is something to show.
SELDOM: dict[str, Callable[[Execution], bool]] = {
    "reason": lambda execution: bool(execution.reason),
    "triggered_by": lambda execution: bool(execution.triggered_by),
    "progress_text": lambda execution: execution.progress is not None,
    "counts": lambda execution: bool(execution.processed_count or execution.error_count),
    "checkpoint_text": lambda execution: execution.checkpoint is not None,
}


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
    summary = (
        "task_link",
        "status_badge",
        "reason",
        "progress_text",
        "counts",
        "trigger",
        "triggered_by",
        "handler",
    )
    failure = (
        _("Failure"),
        {"fields": ("error_category", "error_text", "traceback_text", "error_fingerprint")},
    )
    data = ("payload_text", "checkpoint_text", "result_text")
    further = (
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
        (
            _("Run"),
            {
                "fields": (
                    ("attempt", "losses"),
                    ("queue", "priority"),
                    ("worker_label", "peak_memory"),
                )
            },
        ),
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

        def present(names: Sequence[str]) -> dict[str, Any]:
            return {"fields": [name for name in names if name not in SELDOM or SELDOM[name](obj)]}

        return (
            (None, present(self.summary)),
            *((self.failure,) if obj.error or obj.error_category else ()),
            (_("What went in and came out"), present(self.data)),
            *self.further,
        )

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the log under the execution."""
        if (execution := context["original"]) is not None:
            context["log"] = log_of(execution)
        return super().render_change_form(request, context, *args, **options)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Name the executions that would go; Django would list every line of their logs."""
        executions = list(objs)
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        counted = {self.opts.verbose_name_plural: len(executions)}
        return [str(execution) for execution in executions], counted, lacking, []

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

    @admin.display(description=_("peak memory"))
    def peak_memory(self, execution: Execution) -> str:
        """Return how much memory the attempt used at most."""
        return display.megabytes(execution.peak_memory_mb)

    @admin.display(description=_("progress"))
    def progress_text(self, execution: Execution) -> str:
        """Return how far the run has come."""
        return display.progress(execution.progress)

    @admin.display(description=_("counted"))
    def counts(self, execution: Execution) -> str:
        """Return how many items were processed, and how many of them had errors."""
        counted = {"processed": execution.processed_count, "errors": execution.error_count}
        return _("%(processed)d processed, %(errors)d with errors") % counted

    @admin.display(description=_("checkpoint"))
    def checkpoint_text(self, execution: Execution) -> str:
        """Return where the next attempt may go on."""
        return display.pretty_json(execution.checkpoint)

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
