"""Executions: what ran, what did not, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.executions.actions import ExecutionActions
from scheduled_tasks.admin.executions.attempts import attempts_of
from scheduled_tasks.admin.executions.buttons import ExecutionSettling
from scheduled_tasks.admin.executions.columns import ExecutionColumns, awaited_attempt
from scheduled_tasks.admin.executions.log import log_of
from scheduled_tasks.admin.executions.log_download import ExecutionLogFile
from scheduled_tasks.admin.filters import CauseFilter, DeadFilter, OneTaskFilter, QueueFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.retrying import RetryingAdmin
from scheduled_tasks.models import Execution

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
    "waits_text": lambda execution: bool(awaited_attempt(execution)),
    "stop_moment": lambda execution: execution.cancel_requested_at is not None,
    "requeue_link": lambda execution: execution.requeue_of_id is not None,
    "resolution_text": lambda execution: execution.resolved_at is not None,
    "reason": lambda execution: bool(execution.reason),
    "triggered_by": lambda execution: bool(execution.triggered_by),
    "progress_text": lambda execution: (
        execution.progress is not None or execution.status == Execution.Status.RUNNING
    ),
    "counts": lambda execution: bool(execution.processed_count or execution.error_count),
    "checkpoint_text": lambda execution: execution.checkpoint is not None,
}


@admin.register(Execution)
class ExecutionAdmin(
    ExecutionActions, ExecutionSettling, ExecutionLogFile, ExecutionColumns, RetryingAdmin
):
    """The history of all tasks, newest first."""

    class Media:
        """What keeps the page of an execution up to date."""

        js = ("scheduled_tasks/live.js",)

    list_display = (
        "number",
        "task_name",
        "status_and_why",
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
    search_help_text = _("The beginning of a task's name")
    sortable_by = ("number",)  # no index serves the other orders
    summary = (
        "task_link",
        "status_badge",
        "waits_text",
        "stop_moment",
        "reason",
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
    last_failure = (_("Failure of the last attempt"), {"fields": ("error_category", "error_text")})
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
                    ("attempt", "failures", "losses"),
                    ("queue", "priority"),
                    ("worker_label", "peak_memory"),
                )
            },
        ),
    )

    def for_lists(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Leave long columns in the database, but for the beginnings of those that say why."""
        return for_lists(queryset)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Put the failure on top, where there is one, and leave out what there is not."""

        def present(names: Sequence[str]) -> dict[str, Any]:
            return {"fields": [name for name in names if name not in SELDOM or SELDOM[name](obj)]}

        return (
            (None, present(self.summary)),
            *self.failure_of(obj),
            (_("What went in and came out"), present(self.data)),
            *self.further,
        )

    def failure_of(self, execution: Execution) -> tuple[Any, ...]:
        """Return the set of fields that tells what went wrong, if anything did.

        The traceback of an attempt that another one follows is kept with that attempt.
        """
        if not (execution.error or execution.error_category):
            return ()
        waits = execution.status == Execution.Status.QUEUED
        return (self.last_failure if waits else self.failure,)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the attempts before the last one, and the log, under the execution."""
        if (execution := context["original"]) is not None:
            context |= self.buttons(request, execution)
            context["attempts"] = attempts = attempts_of(execution)
            context["log"] = log_of(execution, attempts.made)
            context["log_url"] = url(self.admin_site, "execution_log", execution.pk)
            context["live"] = not execution.finished
        return super().render_change_form(request, context, *args, **options)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Name the executions that would go; Django would list every line of their logs."""
        executions = list(objs)
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        counted = {self.opts.verbose_name_plural: len(executions)}
        return [str(execution) for execution in executions], counted, lacking, []


def for_lists(executions: QuerySet[Execution]) -> QuerySet[Any]:
    """Leave long columns in the database, but for the beginnings of those that say why."""
    beginnings = {
        f"short_{name}": Left(name, display.LONGEST_REMARK + 1) for name in ("reason", "error")
    }
    return executions.defer(*LONG_COLUMNS).annotate(**beginnings)
