"""Executions: what ran, what did not, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin.executions.attempts import attempts_of
from scheduled_tasks.admin.executions.bulk_actions import ExecutionActions
from scheduled_tasks.admin.executions.buttons import ExecutionButtons
from scheduled_tasks.admin.executions.columns import (
    ExecutionColumns,
    next_attempt,
    why_apart,
    without_long_columns,
)
from scheduled_tasks.admin.executions.downloads import ExecutionDownloads
from scheduled_tasks.admin.executions.log import log_of
from scheduled_tasks.admin.executions.search import named
from scheduled_tasks.admin.filters import CauseFilter, DeadFilter, OneTaskFilter, QueueFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.query_string import can_be_searched
from scheduled_tasks.admin.retrying import RetryingAdmin
from scheduled_tasks.models import Execution

#: When the page of an execution shows a field; it always shows the others.
SHOWN_IF: dict[str, Callable[[Execution], bool]] = {
    "next_attempt_text": lambda execution: bool(next_attempt(execution)),
    "apart_text": lambda execution: bool(why_apart(execution)),
    "stop_moment": lambda execution: execution.cancel_requested_at is not None,
    "requeue_link": lambda execution: execution.requeue_of_id is not None,
    "resolution_text": lambda execution: execution.resolved_at is not None,
    "reason_text": lambda execution: bool(execution.reason),
    "triggered_by": lambda execution: bool(execution.triggered_by),
    "progress_text": lambda execution: (
        execution.progress is not None or execution.status == Execution.Status.RUNNING
    ),
    "counts": lambda execution: bool(execution.processed_count or execution.error_count),
    "checkpoint_text": lambda execution: execution.checkpoint is not None,
}


@admin.register(Execution)
class ExecutionAdmin(
    ExecutionActions, ExecutionButtons, ExecutionDownloads, ExecutionColumns, RetryingAdmin
):
    """The executions of all tasks, newest first."""

    class Media:
        """The script that keeps the page of an execution up to date."""

        js = ("scheduled_tasks/live.js",)

    list_display = (
        "number",
        "task_name",
        "status_and_reason",
        "trigger",
        "scheduled_moment",
        "delay",
        "duration",
        "worker_label",
    )
    list_filter = (
        DeadFilter,
        OneTaskFilter,
        CauseFilter,
        "status",
        "trigger",
        "test_mode",
        QueueFilter,
    )
    search_fields = ("task_name__startswith",)
    search_help_text = _("Search by task name (prefix)")
    sortable_by = ("number",)  # no index supports the other orders
    summary = (
        "task_link",
        "status_badge",
        "next_attempt_text",
        "apart_text",
        "stop_moment",
        "reason_text",
        "resolution_text",
        "progress_text",
        "counts",
        "trigger",
        "triggered_by",
        "requeue_link",
        "handler",
    )
    failure = (
        _("Failure"),
        {"fields": ("error_category", "error_text", "traceback_text", "error_fingerprint")},
    )
    last_failure = (
        _("Failure of the last attempt"),
        {"fields": ("error_category", "error_text")},
    )
    data = ("payload_text", "checkpoint_text", "result_text")
    details = (
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
                    ("attempt", "failures", "losses"),
                    ("queue", "priority"),
                    ("worker_label", "peak_memory"),
                )
            },
        ),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Execution | None = None) -> bool:
        """Refuse for running executions: their worker could not record how they end."""
        if obj is not None and obj.status == Execution.Status.RUNNING:
            return False
        return super().has_delete_permission(request, obj)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by the names of tasks, since there are far fewer tasks than executions."""
        if not can_be_searched(search_term):
            return queryset.none(), False
        prefix = search_term.strip()
        return (named(queryset, prefix) if prefix else queryset), False

    def for_lists(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Defer long columns, except for the beginning of the reason and the error."""
        return without_long_columns(queryset)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the failure first, if there is one, and leave out empty fields."""
        return (
            (None, {"fields": shown(self.summary, obj)}),
            *self.failure_of(obj),
            (_("Input and result"), {"fields": shown(self.data, obj)}),
            *self.details,
        )

    def failure_of(self, execution: Execution) -> tuple[Any, ...]:
        """Return the fieldset with the error, or none.

        While another attempt is queued, the traceback is with the attempt that failed.
        """
        if not (execution.error or execution.error_category):
            return ()
        queued = execution.status == Execution.Status.QUEUED
        return (self.last_failure if queued else self.failure,)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show buttons, earlier attempts and the log with the execution."""
        if (execution := context["original"]) is not None:
            context |= self.buttons(request, execution)
            context["attempts"] = attempts = attempts_of(execution)
            context["log"] = log_of(execution, attempts.rows)
            context["log_url"] = url(self.admin_site, "execution_log", execution.pk)
            context["live"] = not execution.finished
        return super().render_change_form(request, context, *args, **options)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Return the executions only; Django would list every line of their logs."""
        executions = list(objs)
        forbidden = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        counts = {self.opts.verbose_name_plural: len(executions)}
        return [str(execution) for execution in executions], counts, forbidden, []


def shown(names: Sequence[str], execution: Execution) -> list[str]:
    return [name for name in names if name not in SHOWN_IF or SHOWN_IF[name](execution)]
