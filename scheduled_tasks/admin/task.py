"""Tasks: what runs when, switched and run from here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.admin.execution import LONG_COLUMNS
from scheduled_tasks.admin.run_now import RunNowView
from scheduled_tasks.admin.task_form import TaskForm
from scheduled_tasks.conf import app_settings
from scheduled_tasks.exceptions import ScheduledTasksError
from scheduled_tasks.models import Execution, Task, Worker
from scheduled_tasks.operations import run_task_now

RECENT_EXECUTIONS = 20
COMING_SLOTS = 5


class ParkedFilter(admin.SimpleListFilter):
    """Tasks that the engine set aside."""

    title = _("parked")
    parameter_name = "parked"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        """Offer yes and no."""
        return [("1", _("Yes")), ("0", _("No"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        """Narrow the list."""
        if self.value() is None:
            return queryset
        return queryset.filter(state__parked_at__isnull=self.value() == "0")


@admin.register(Task)
class TaskAdmin(admin.ModelAdmin):
    """Tasks, with what they do next and what they did last."""

    form = TaskForm
    list_display = (
        "name",
        "schedule_in_english",
        "next_run",
        "last_status",
        "last_run",
        "is_enabled",
        "category",
    )
    list_filter = ("enabled", ParkedFilter, "state__last_status", "origin", "category")
    list_select_related = ("state",)
    search_fields = ("name", "handler", "description")
    show_full_result_count = False
    actions = ("enable", "disable", "run_now")
    readonly_fields = ("standing", "next_run", "coming_slots", "last_run", "last_status", "origin")
    fieldsets = (
        (None, {"fields": ("name", "handler", "description", "category")}),
        (_("When"), {"fields": ("schedule", "timezone", "anchor", "enabled")}),
        (_("What with"), {"fields": ("payload", "queue", "priority")}),
        (_("How it stands"), {"fields": readonly_fields}),
    )
    change_form_template = "admin/scheduled_tasks/task/change_form.html"
    change_list_template = "admin/scheduled_tasks/task/change_list.html"

    class Media:
        """Moments in the viewer's zone, and colours."""

        css = {"all": ("scheduled_tasks/admin.css",)}
        js = ("scheduled_tasks/moments.js",)

    # Permissions

    def has_run_permission(self, request: HttpRequest, task: Task | None = None) -> bool:
        """Say whether the user may run tasks: a permission of its own, run_task."""
        codename = get_permission_codename("run", self.opts)
        return bool(request.user.has_perm(f"{self.opts.app_label}.{codename}"))

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

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Delete one by one, each under the lock of its state; declared ones stay."""
        for task in queryset.select_related("state"):
            if not task.declared_in_code:
                task.delete()

    # Columns

    @admin.display(description=_("schedule"), ordering="schedule")
    def schedule_in_english(self, task: Task) -> str:
        """Return the schedule in English, with its text at hand."""
        return format_html('<span title="{}">{}</span>', task.schedule, task.describe_schedule())

    @admin.display(description=_("next run"), ordering="state__next_run_at")
    def next_run(self, task: Task) -> str:
        """Return when the task is due next."""
        if task.state.parked_at:
            return display.badge("parked", _g("parked"))
        return display.moment(task.state.next_run_at)

    @admin.display(description=_("last run"), ordering="state__last_run_at")
    def last_run(self, task: Task) -> str:
        """Return when the task last ran."""
        return display.moment(task.state.last_run_at)

    @admin.display(description=_("last status"), ordering="state__last_status")
    def last_status(self, task: Task) -> str:
        """Return how the last run ended."""
        status = task.state.last_status
        return display.badge(status, Execution.Status(status).label if status else None)

    @admin.display(description=_("enabled"), boolean=True, ordering="enabled")
    def is_enabled(self, task: Task) -> bool:
        """Return whether people let it fire."""
        return task.enabled

    @admin.display(description=_("standing"))
    def standing(self, task: Task) -> str:
        """Say in a sentence whether the task will fire, and why not."""
        if task.state.parked_at:
            return _g("Parked: %s") % task.state.parked_reason
        if not task.enabled:
            return _g("Disabled: it fires no slot, and can be run by hand.")
        if edited := task.changed_from_code:
            return _g("Enabled. Changed from code: %s.") % ", ".join(edited)
        return _g("Enabled.")

    @admin.display(description=_("coming runs"))
    def coming_slots(self, task: Task) -> str:
        """Return the next slots."""
        try:
            schedule = task.parse_schedule()
        except ScheduledTasksError as error:
            return str(error)
        if schedule is None or task.state.next_run_at is None:
            return display.EMPTY
        slots = schedule.upcoming(COMING_SLOTS, after=timezone.now())
        lines = format_html_join("", "<li>{}</li>", ((display.moment(slot),) for slot in slots))
        return format_html('<ul class="st-slots">{}</ul>', lines)

    # Actions

    @admin.action(description=_("Enable selected tasks"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Let the tasks fire again, from now on."""
        self.switch(request, queryset.filter(enabled=False), enabled=True)

    @admin.action(description=_("Disable selected tasks"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Let the tasks fire no more."""
        self.switch(request, queryset.filter(enabled=True), enabled=False)

    def switch(self, request: HttpRequest, queryset: QuerySet[Task], *, enabled: bool) -> None:
        """Switch each task, leave a log entry, and report how many."""
        said = _g("Enabled.") if enabled else _g("Disabled.")
        count = 0
        for task in queryset:
            task.switch(enabled=enabled)
            self.log_change(request, task, said)
            count += 1
        done = ngettext("%d task: %s", "%d tasks: %s", count) % (count, said.lower())
        self.message_user(request, done, messages.SUCCESS)

    @admin.action(description=_("Run selected tasks now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Queue one execution of each task, with its own payload."""
        queued = 0
        for task in queryset:
            try:
                self.queue_run(request, task)
                queued += 1
            except ScheduledTasksError as error:
                self.message_user(request, f"{task.name}: {error}", messages.ERROR)
        if queued:
            said = ngettext("%d execution queued.", "%d executions queued.", queued) % queued
            self.message_user(request, said, messages.SUCCESS)

    def queue_run(
        self, request: HttpRequest, task: Task, payload: dict[str, Any] | None = None
    ) -> Execution:
        """Queue an execution in the user's name, with a log entry."""
        execution = run_task_now(task, payload, triggered_by=f"user:{request.user}"[:200])
        self.log_change(request, task, _g("Run now: execution #%d.") % execution.pk)
        return execution

    # Pages

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
        """Say on top of the list whether a scheduler is alive."""
        live = Worker.objects.live(timezone.now(), within=app_settings.LEASE)
        context = {"live_workers": live.count(), **(extra_context or {})}
        return super().changelist_view(request, context)  # type: ignore[return-value]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show the last executions under the task, and the way to run it."""
        if (task := context["original"]) is not None:
            context["recent_executions"] = self.recent_executions(task)
            context["all_executions_url"] = self.url("execution_changelist", task=task)
            context["may_run"] = self.has_run_permission(request, task)
        return super().render_change_form(request, context, *args, **options)

    def recent_executions(self, task: Task) -> list[dict[str, Any]]:
        """Return the last executions, ready to show."""
        executions = task.executions.defer(*LONG_COLUMNS).order_by("-pk")[:RECENT_EXECUTIONS]
        return [
            {
                "number": execution.pk,
                "url": reverse(
                    "admin:scheduled_tasks_execution_change",
                    args=[execution.pk],
                    current_app=self.admin_site.name,
                ),
                "status": display.badge(execution.status, execution.get_status_display()),
                "trigger": execution.get_trigger_display(),
                "scheduled_for": display.moment(execution.scheduled_for),
                "started": display.moment(execution.started_at or execution.claimed_at),
                "duration": display.duration(execution.duration_ms),
                "worker": execution.worker_label or display.EMPTY,
            }
            for execution in executions
        ]

    def url(self, view: str, *, task: Task) -> str:
        """Return the address of a list narrowed to one task."""
        base = reverse(f"admin:scheduled_tasks_{view}", current_app=self.admin_site.name)
        return f"{base}?task__id__exact={task.pk}"
