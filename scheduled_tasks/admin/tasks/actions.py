"""What people do to tasks from the list: enable, disable, run now, pause."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
from scheduled_tasks.admin.tasks.pause_page import PAUSE_FIELDS, PauseTasksView
from scheduled_tasks.exceptions import ErrorsByField, ScheduledTasksError
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.operations.tasks import run_task_now


class TaskActions(admin.ModelAdmin):
    """The actions of the list of tasks. A task that refuses is named and stops no other."""

    actions = ("enable", "disable", "run_now", "pause", "end_pause", "reset_to_code")

    @admin.action(description=_("Enable selected tasks"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Let the tasks fire again, from now on."""
        count = self.switch(request, queryset.filter(enabled=False), enabled=True)
        self.report(request, ngettext("%d task enabled.", "%d tasks enabled.", count), count)

    @admin.action(description=_("Disable selected tasks"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Let the tasks fire no more."""
        count = self.switch(request, queryset.filter(enabled=True), enabled=False)
        self.report(request, ngettext("%d task disabled.", "%d tasks disabled.", count), count)

    @admin.action(description=_("Run selected tasks now"), permissions=["run"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Queue one execution of each task, with its own payload."""
        queued = 0
        for task in queryset:
            try:
                self.queue_run(request, task)
                queued += 1
            except ScheduledTasksError as error:
                self.report_refused_run(request, task, error)
        if queued:
            said = ngettext("%d execution queued.", "%d executions queued.", queued)
            self.report(request, said, queued)

    @admin.action(description=_("Pause selected tasks…"), permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        """Ask until when and why, then skip the slots before that."""
        return PauseTasksView(self, request, queryset).respond()

    @admin.action(description=_("End the pause of selected tasks"), permissions=["change"])
    def end_pause(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Let the next slot of each task fire again."""
        count = 0
        for task in queryset.filter(paused_until__gt=timezone.now()):
            with self.naming_what_refuses(request, task):
                task.paused_until, task.pause_reason = None, ""
                task.save(update_fields=PAUSE_FIELDS, by=user_of(request))
                self.log_change(request, task, _g("Pause ended."))
                count += 1
        self.report(request, ngettext("%d pause ended.", "%d pauses ended.", count), count)

    @admin.action(description=_("Reset selected tasks to code"), permissions=["change"])
    def reset_to_code(self, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        """Take back what people changed of tasks that code declares."""
        count = 0
        for task in [task for task in queryset if task.changed_from_code]:
            with self.naming_what_refuses(request, task):
                said = _g("Reset to code: %s.") % ", ".join(task.changed_from_code)
                task.reset_to_code(by=user_of(request))
                self.log_change(request, task, said)
                count += 1
        self.report(request, ngettext("%d task reset.", "%d tasks reset.", count), count)

    def switch(self, request: HttpRequest, queryset: QuerySet[Task], *, enabled: bool) -> int:
        """Switch each task, with a log entry, and return how many it were."""
        said = _g("Enabled.") if enabled else _g("Disabled.")
        count = 0
        for task in queryset:
            with self.naming_what_refuses(request, task):
                task.switch(enabled=enabled, by=user_of(request))
                self.log_change(request, task, said)
                count += 1
                if enabled and task.state.parked_at:
                    parked = _g("%(task)s is parked: %(reason)s")
                    names = {"task": task.name, "reason": task.state.parked_reason}
                    self.message_user(request, parked % names, messages.WARNING)
        return count

    @contextmanager
    def naming_what_refuses(self, request: HttpRequest, task: Task) -> Iterator[None]:
        """Name a task that could not be changed, as one deleted meanwhile, and go on."""
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
        execution = run_task_now(task, payload, triggered_by=user_of(request), test_mode=test_mode)
        said = _g("Run now: execution #%d.")
        if test_mode:
            said = _g("Run now in test mode: execution #%d.")
        self.log_change(request, task, said % execution.pk)
        return execution

    def report(self, request: HttpRequest, said: str, count: int) -> None:
        """Say how many tasks an action changed."""
        level = messages.SUCCESS if count else messages.INFO
        self.message_user(request, said % count, level)

    def report_refused_run(
        self, request: HttpRequest, task: Task, error: ScheduledTasksError
    ) -> None:
        """Say why a task was not queued; where arguments are to blame, where to give them."""
        said = format_html("{}: {}", task.name, error)
        if isinstance(error, ErrorsByField):
            page = url(self.admin_site, "task_run", task.pk)
            said = format_html('{} <a href="{}">{}</a>', said, page, _g("Give arguments"))
        self.message_user(request, said, messages.ERROR)
