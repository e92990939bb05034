"""Tasks: what runs when, switched and run from here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin.filters import (
    CategoryFilter,
    LastStatusFilter,
    ParkedFilter,
    PausedFilter,
)
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.pauses.banner import banner_context
from scheduled_tasks.admin.permissions import RunPermission, may_view, user_of
from scheduled_tasks.admin.retrying import RetryingAdmin
from scheduled_tasks.admin.tasks.actions import TaskActions
from scheduled_tasks.admin.tasks.columns import TaskColumns
from scheduled_tasks.admin.tasks.form import TaskForm
from scheduled_tasks.admin.tasks.pause_page import PAUSE_FIELDS
from scheduled_tasks.admin.tasks.recent import recent_changes, recent_executions
from scheduled_tasks.admin.tasks.run_now_page import RunNowView
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, Task, TaskChange, Worker

STANDING = (
    "standing",
    "schedule_in_english",
    "coming_slots",
    "last_run",
    "origin",
)

PAUSE = _("Pause")


@admin.register(Task)
class TaskAdmin(TaskColumns, TaskActions, RunPermission, RetryingAdmin):
    """Tasks, with what they do next and what they did last."""

    form = TaskForm
    list_display = (
        "name",
        "schedule_in_english",
        "next_run",
        "last_status",
        "is_enabled",
        "category",
    )
    list_filter = (
        "enabled",
        ParkedFilter,
        PausedFilter,
        LastStatusFilter,
        CategoryFilter,
        "origin",
    )
    list_select_related = ("state",)
    search_fields = ("name", "handler", "description", "category")
    readonly_fields = STANDING
    fieldsets = (
        (_("How it stands"), {"fields": STANDING}),
        (_("What"), {"fields": ("name", "handler", "payload", "description", "category")}),
        (
            _("When"),
            {"fields": ("schedule", "timezone", "enabled", ("starts_at", "ends_at"), "jitter")},
        ),
        (PAUSE, {"fields": PAUSE_FIELDS, "classes": ("collapse",)}),
        (_("How"), {"fields": ("executor", ("timeout", "memory_limit_mb"))}),
        (
            _("When it fails"),
            {
                "fields": (
                    ("max_retries", "retry_delay"),
                    ("retry_backoff", "retry_max_delay"),
                    ("on_lost", "max_losses"),
                )
            },
        ),
        (
            _("When it is late, or still running"),
            {"fields": (("misfire_policy", "misfire_grace"), ("overlap_policy", "catch_up_limit"))},
        ),
        (
            _("Fine-tuning"),
            {"fields": ("anchor", ("queue", "priority"), "metadata"), "classes": ("collapse",)},
        ),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        """Keep tasks that code declares: sync would make them again. Disable them instead."""
        if obj is not None and obj.declared_in_code:
            return False
        return super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Task | None = None) -> Any:
        """Leave the identity of a declared task to code."""
        fields = super().get_readonly_fields(request, obj)
        if obj is not None and obj.origin == Task.Origin.CODE:
            return (*fields, "name", "handler")
        return fields

    def get_fieldsets(self, request: HttpRequest, obj: Task | None = None) -> Any:
        """Say how a task stands once there is one, and show its pause if it has one.

        Who may only look sees no secrets.
        """
        sets = super().get_fieldsets(request, obj)
        if obj is None:
            return sets[1:]
        if not self.has_change_permission(request, obj):
            sets = [(name, without_secrets(options)) for name, options in sets]
        if obj.paused_until is None:
            return sets
        shown = {"fields": PAUSE_FIELDS}
        return [(name, shown if name == PAUSE else options) for name, options in sets]

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Name the tasks that would go, and those that code declares as what stands against it.

        Django would list the states as well, and the history, which stays.
        """
        tasks = list(objs)
        declared = [task for task in tasks if task.declared_in_code]
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        said = _("%s: declared in code, disable it instead")
        return (
            [str(task) for task in tasks],
            {self.opts.verbose_name_plural: len(tasks)},
            lacking,
            [said % task for task in declared],
        )

    def save_model(self, request: HttpRequest, obj: Task, form: Any, change: Any) -> None:
        """Save in the user's name, of a row that there is what differs from it as it was read.

        The rest others may have changed since.
        """
        differing = [name for name in form.fields if getattr(obj, name) != form.initial.get(name)]
        obj.save(update_fields=differing if change else None, by=user_of(request))

    def delete_model(self, request: HttpRequest, obj: Task) -> None:
        """Delete in the user's name."""
        obj.delete(by=user_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Delete one by one, each under the lock of its state."""
        for task in queryset:
            task.delete(by=user_of(request))

    def get_urls(self) -> list[URLPattern]:
        """Add the run-now page."""
        run_now = path(
            "<path:object_id>/run/",
            self.admin_site.admin_view(self.run_now_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_run",
        )
        return [run_now, *super().get_urls()]

    def run_now_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form of the handler's arguments, and queue a run with what it holds."""
        return RunNowView(self, request, object_id).respond()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Say on top of the list whether everything is paused, and whether a scheduler lives."""
        live = Worker.objects.live(timezone.now(), within=app_settings.LEASE)
        context = {
            "live_workers": live.count(),
            **banner_context(self.admin_site, request),
            **(extra_context or {}),
        }
        if may_view(self.admin_site, request, Worker):
            context["workers_url"] = url(self.admin_site, "worker_changelist")
        return super().changelist_view(request, context)  # type: ignore[return-value]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the last executions and changes under the task, and the way to run it."""
        if (task := context["original"]) is not None:
            context |= self.further_context(request, task)
        return super().render_change_form(request, context, *args, **options)

    def further_context(self, request: HttpRequest, task: Task) -> dict[str, Any]:
        """Return what the page of a task shows besides the form, as far as the user may see it."""
        context: dict[str, Any] = {}
        if self.has_run_permission(request, task):
            context["run_url"] = url(self.admin_site, "task_run", task.pk)
        if may_view(self.admin_site, request, Execution):
            executions = url(self.admin_site, "execution_changelist")
            context["executions_url"] = f"{executions}?task={task.pk}"
            context["recent_executions"] = recent_executions(task, self.admin_site)
        if may_view(self.admin_site, request, TaskChange):
            changes = url(self.admin_site, "taskchange_changelist")
            context["changes_url"] = f"{changes}?task={task.pk}"
            context["recent_changes"] = recent_changes(task, self.admin_site)
        return context


def without_secrets(options: Any) -> Any:
    """Return a set of fields with what may hold secrets as those see it who may only look."""
    shown = {"payload": "payload_shown", "metadata": "metadata_shown"}
    fields = [
        shown.get(name, name) if isinstance(name, str) else name for name in options["fields"]
    ]
    return {**options, "fields": fields}
