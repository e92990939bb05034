"""The page that runs a task now, with arguments that a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.models import Task
from scheduled_tasks.payloads import PayloadSpec
from scheduled_tasks.registry import registry

if TYPE_CHECKING:
    from scheduled_tasks.admin.task import TaskAdmin


class RunNowView:
    """One request to the run-now page of one task."""

    template = "admin/scheduled_tasks/task/run_now.html"

    def __init__(self, admin: TaskAdmin, request: HttpRequest, object_id: str) -> None:
        self.admin = admin
        self.request = request
        self.task = self.find(object_id)

    def find(self, object_id: str) -> Task:
        """Return the task, if the user may run it."""
        task: Task | None = self.admin.get_object(self.request, object_id)
        if task is None:
            raise Http404
        if not self.admin.has_run_permission(self.request, task):
            raise PermissionDenied
        return task

    def respond(self) -> HttpResponse:
        """Queue the run of a valid form; otherwise show the form."""
        try:
            spec = registry.get(self.task.handler).spec
        except ScheduledTasksError as error:
            self.admin.message_user(self.request, str(error), messages.ERROR)
            return HttpResponseRedirect(self.task_url())
        form = spec.form(
            self.request.POST if self.request.method == "POST" else None,
            initial=self.task.payload,
        )
        if self.request.method == "POST" and form.is_valid():
            return self.queue(spec, form) or self.page(form)
        return self.page(form)

    def queue(self, spec: PayloadSpec, form: Form) -> HttpResponse | None:
        """Queue the run and go to its page; None if the payload was refused after all."""
        try:
            execution = self.admin.queue_run(self.request, self.task, spec.payload_from(form))
        except InvalidPayload as error:
            for field, sentences in error.errors.items():
                form.add_error(field if field in form.fields else None, sentences)
            return None
        said = _("Queued as execution #%d: the next free worker runs it.") % execution.pk
        self.admin.message_user(self.request, said, messages.SUCCESS)
        url = reverse(
            "admin:scheduled_tasks_execution_change",
            args=[execution.pk],
            current_app=self.admin.admin_site.name,
        )
        return HttpResponseRedirect(url)

    def page(self, form: Form) -> TemplateResponse:
        """Show the form."""
        context = {
            **self.admin.admin_site.each_context(self.request),
            "title": _("Run %s now") % self.task.name,
            "opts": self.admin.opts,
            "original": self.task,
            "form": form,
            "media": self.admin.media + form.media,
            "task_url": self.task_url(),
        }
        return TemplateResponse(self.request, self.template, context)

    def task_url(self) -> str:
        """Return the address of the task's page."""
        return reverse(
            "admin:scheduled_tasks_task_change",
            args=[self.task.pk],
            current_app=self.admin.admin_site.name,
        )
