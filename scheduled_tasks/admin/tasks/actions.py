"""The actions of the list of tasks: enable, disable, run now, pause, resume, reset to code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import user_of
from scheduled_tasks.admin.tasks.pause_page import PauseTasksPage
from scheduled_tasks.exceptions import ErrorsByField, ScheduledTasksError
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.tasks import (
    disable_task,
    enable_task,
    pause_task,
    reset_task_to_code,
    resume_task,
    run_task_now,
)


class TaskActions(admin.ModelAdmin):
    """The actions. A task that cannot be changed is reported and does not stop the others."""

    actions = ("enable", "disable", "run_now", "pause", "end_pause", "reset_to_code")

    @admin.action(description=_("Enable selected tasks"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        count = self.set_enabled(request, queryset.filter(enabled=False), enabled=True)
        self.report(request, ngettext("%d task enabled.", "%d tasks enabled.", count), count)

    @admin.action(description=_("Disable selected tasks"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        count = self.set_enabled(request, queryset.filter(enabled=True), enabled=False)
        self.report(request, ngettext("%d task disabled.", "%d tasks disabled.", count), count)

    @admin.action(description=_("Run selected tasks now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Queue one execution of each task, with its own payload."""
        count = 0
        for task in queryset:
            try:
                self.queue_run(request, task)
                count += 1
            except ScheduledTasksError as error:
                self.report_refused_run(request, task, error)
        if count:
            message = ngettext("%d execution queued.", "%d executions queued.", count)
            self.report(request, message, count)

    @admin.action(description=_("Pause selected tasks…"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        """Ask until when and why, then pause the tasks."""
        tasks = list(queryset)

        def pause(until: datetime, reason: str) -> None:
            count = 0
            for task in tasks:
                with self.reporting_errors(request, task):
                    pause_task(task, until, reason=reason, by=user_of(request))
                    self.log_change(request, task, _g("Paused."))
                    count += 1
            self.report(request, ngettext("%d task paused.", "%d tasks paused.", count), count)

        return PauseTasksPage(self, request, tasks, pause).respond()

    @admin.action(description=_("Resume selected tasks"), permissions=["change"])
    def end_pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        count = 0
        for task in queryset.filter(paused_until__gt=timezone.now()):
            with self.reporting_errors(request, task):
                resume_task(task, by=user_of(request))
                self.log_change(request, task, _g("Resumed."))
                count += 1
        self.report(request, ngettext("%d task resumed.", "%d tasks resumed.", count), count)

    @admin.action(description=_("Reset selected tasks to code"), permissions=["change"])
    def reset_to_code(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Undo what people changed in tasks that are declared in code."""
        count = 0
        for task in [task for task in queryset if task.changed_from_code]:
            with self.reporting_errors(request, task):
                # Before the reset, after which nothing differs.
                message = _g("Reset to code: %s.") % ", ".join(task.changed_from_code)
                reset_task_to_code(task, by=user_of(request))
                self.log_change(request, task, message)
                count += 1
        self.report(request, ngettext("%d task reset.", "%d tasks reset.", count), count)

    def set_enabled(self, request: HttpRequest, queryset: QuerySet[Task], *, enabled: bool) -> int:
        """Enable or disable each task, with a log entry. Return the count."""
        switch = enable_task if enabled else disable_task
        message = _g("Enabled.") if enabled else _g("Disabled.")
        count = 0
        for task in queryset:
            with self.reporting_errors(request, task):
                switch(task, by=user_of(request))
                self.log_change(request, task, message)
                count += 1
                if enabled and task.state.parked_at:
                    parked = _g("%(task)s is parked: %(reason)s")
                    names = {"task": task.name, "reason": task.state.parked_reason}
                    self.message_user(request, parked % names, messages.WARNING)
        return count

    @contextmanager
    def reporting_errors(self, request: HttpRequest, task: Task) -> Iterator[None]:
        """Report an error with the name of the task, for example that it was deleted."""
        try:
            yield
        except ScheduledTasksError as error:
            self.message_user(request, f"{task.name}: {error}", messages.ERROR)

    def queue_run(
        self,
        request: HttpRequest,
        task: Task,
        payload: dict[str, Any] | None = None,
        *,
        test_mode: bool = False,
    ) -> Execution:
        """Queue an execution in the user's name, with a log entry."""
        execution = run_task_now(task, payload, by=user_of(request), test_mode=test_mode)
        message = _g("Run now: execution #%d.")
        if test_mode:
            message = _g("Run now in test mode: execution #%d.")
        self.log_change(request, task, message % execution.pk)
        return execution

    def report(self, request: HttpRequest, message: str, count: int) -> None:
        level = messages.SUCCESS if count else messages.INFO
        self.message_user(request, message % count, level)

    def report_refused_run(
        self, request: HttpRequest, task: Task, error: ScheduledTasksError
    ) -> None:
        """Report why a task was not queued, with a link if other arguments would help."""
        message = format_html("{}: {}", task.name, error)
        if isinstance(error, ErrorsByField):
            page = url(self.admin_site, "task_run", task.pk)
            message = format_html('{} <a href="{}">{}</a>', message, page, _g("Enter arguments"))
        self.message_user(request, message, messages.ERROR)
