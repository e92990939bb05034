"""Tasks: their list, their page, and the page that runs one now."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
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
from scheduled_tasks.admin.tasks.form import TaskForm, too_long
from scheduled_tasks.admin.tasks.recent import recent_changes, recent_executions
from scheduled_tasks.admin.tasks.run_now_page import RunNowPage
from scheduled_tasks.admin.text_files import text_file, whole_json
from scheduled_tasks.conf import app_settings
from scheduled_tasks.models import Execution, Task, TaskChange, Worker
from scheduled_tasks.operations.tasks import PAUSE_FIELDS

STATUS_FIELDS = (
    "status",
    "schedule_in_english",
    "next_runs",
    "last_run",
    "origin",
)

PAUSE_TITLE = _("Pause")
#: Fields of the form, and what is shown instead to who may not edit them, or if they are long.
READ_ONLY = {
    "payload": "redacted_payload",
    "metadata": "redacted_metadata",
    "description": "short_description",
}


@admin.register(Task)
class TaskAdmin(TaskColumns, TaskActions, RunPermission, RetryingAdmin):
    """Tasks, with their next and their last run."""

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
    readonly_fields = STATUS_FIELDS
    fieldsets = (
        (_("Status"), {"fields": STATUS_FIELDS}),
        (_("Definition"), {"fields": ("name", "handler", "payload", "description", "category")}),
        (
            _("Schedule"),
            {"fields": ("schedule", "timezone", "enabled", *Task.SECTIONS["schedule"])},
        ),
        (PAUSE_TITLE, {"fields": PAUSE_FIELDS, "classes": ("collapse",)}),
        (_("Execution"), {"fields": Task.SECTIONS["execution"]}),
        (_("Failures"), {"fields": Task.SECTIONS["failures"]}),
        (_("Late and overlapping runs"), {"fields": Task.SECTIONS["late"]}),
        (_("Alerts"), {"fields": Task.SECTIONS["alerts"], "classes": ("collapse",)}),
        (_("Retention"), {"fields": Task.SECTIONS["retention"], "classes": ("collapse",)}),
        (
            _("Advanced"),
            {
                "fields": ("anchor", *Task.SECTIONS["advanced"], "metadata"),
                "classes": ("collapse",),
            },
        ),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        """Refuse for tasks declared in code: the next sync would create them again."""
        if obj is not None and obj.declared_in_code:
            return False
        return super().has_delete_permission(request, obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Task | None = None) -> Any:
        """Return the identity of a task as read-only if it comes from code."""
        fields = (*super().get_readonly_fields(request, obj), *READ_ONLY.values())
        if obj is not None and obj.origin == Task.Origin.CODE:
            return (*fields, "name", "handler")
        return fields

    def get_fieldsets(self, request: HttpRequest, obj: Task | None = None) -> Any:
        """Show the status of existing tasks, and open the pause of paused ones.

        Users who may not change tasks see no secrets, and very long values are only shown.
        """
        sets = super().get_fieldsets(request, obj)
        if obj is None:
            return sets[1:]
        instead = READ_ONLY if not self.has_change_permission(request, obj) else too_long(obj)
        sets = [(name, shown_instead(options, instead)) for name, options in sets]
        if obj.paused_until is None:
            return sets
        expanded = {"fields": PAUSE_FIELDS}
        return [(name, expanded if name == PAUSE_TITLE else options) for name, options in sets]

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """Return the tasks, and those declared in code as protected.

        Django would also list their states, and the history, which is kept.
        """
        tasks = list(objs)
        declared = [task for task in tasks if task.declared_in_code]
        forbidden = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        protected = _("%s: declared in code. Disable it instead.")
        return (
            [str(task) for task in tasks],
            {self.opts.verbose_name_plural: len(tasks)},
            forbidden,
            [protected % task for task in declared],
        )

    def save_model(self, request: HttpRequest, obj: Task, form: Any, change: Any) -> None:
        """Save in the user's name; of an existing task, only the changed fields.

        Others may have changed the rest since the form was loaded.
        """
        changed = [name for name in form.fields if getattr(obj, name) != form.initial.get(name)]
        obj.save(update_fields=changed if change else None, by=user_of(request))

    def delete_model(self, request: HttpRequest, obj: Task) -> None:
        obj.delete(by=user_of(request))

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "scheduled_tasks_task"
        return [
            path("<path:object_id>/run/", view(self.run_now_view), name=f"{name}_run"),
            path("<int:pk>/<str:part>.txt", view(self.download_view), name=f"{name}_download"),
            # The last of Django's patterns matches every path.
            *super().get_urls(),
        ]

    def download_view(self, request: HttpRequest, pk: int, part: str) -> StreamingHttpResponse:
        """Return a long field without secrets. Raise Http404 or PermissionDenied."""
        task: Task | None = self.get_object(request, str(pk))
        if task is None or part not in READ_ONLY:
            raise Http404
        if not self.has_view_permission(request, task):
            raise PermissionDenied
        value = getattr(task, part)
        text = value if isinstance(value, str) else whole_json(value)
        return text_file([text], f"{task.name}-{part}.txt")

    def run_now_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form for the arguments, and queue a run with what the user has entered."""
        task: Task | None = self.get_object(request, object_id)
        if task is None:
            raise Http404
        if not self.has_run_permission(request, task):
            raise PermissionDenied
        return RunNowPage(self, request, task, partial(self.queue_run, request, task)).respond()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Show global pauses and the number of live workers above the list."""
        live = Worker.objects.live(timezone.now(), within=app_settings.LEASE)
        context = {
            "live_workers": live.count(),
            **banner_context(self.admin_site, request),
            **(extra_context or {}),
        }
        if may_view(self.admin_site, request, Worker):
            context["workers_url"] = url(self.admin_site, "worker_changelist")
        return super().changelist_view(request, context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the latest executions and changes below the task."""
        if (task := context["original"]) is not None:
            context |= self.page_context(request, task)
        return super().render_change_form(request, context, *args, **options)

    def page_context(self, request: HttpRequest, task: Task) -> dict[str, Any]:
        """Return what the page of a task shows in addition to the form and the user may see."""
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


def shown_instead(options: Any, names: Collection[str]) -> Any:
    """Return the options of a fieldset with the read-only form of some of its fields."""
    fields = [READ_ONLY[name] if name in names else name for name in options["fields"]]
    return {**options, "fields": fields}
