"""The page that runs a task now, with arguments that a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import BooleanField, Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import conditional_escape
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduled_tasks.admin.form_page import FormPage, as_fieldset
from scheduled_tasks.admin.links import may_view, url
from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.models import Execution, Task
from scheduled_tasks.payloads import PayloadSpec
from scheduled_tasks.registry import registry

if TYPE_CHECKING:
    from scheduled_tasks.admin.task import TaskAdmin


class HowToRun(Form):
    """What the page asks besides the handler's arguments, which may have any name."""

    prefix = "run"

    test_mode = BooleanField(
        label=gettext_lazy("Test mode"),
        required=False,
        help_text=gettext_lazy(
            "Only try it: the handler is told so, and how it ends does not count for the task."
        ),
    )


class RunNowView(FormPage):
    """One request to the run-now page of one task."""

    template = "admin/scheduled_tasks/task/run_now.html"

    def __init__(self, admin: TaskAdmin, request: HttpRequest, object_id: str) -> None:
        super().__init__(admin, request)
        self.admin = admin
        self.task = self.find(object_id)
        self.how = HowToRun(request.POST if request.method == "POST" else None)

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
            return HttpResponseRedirect(self.way_back())
        posted = self.request.method == "POST"
        form = self.form(spec, posted=posted)
        if posted and form.is_valid():
            return self.queue(spec, form) or self.show(form)
        return self.show(form)

    def form(self, spec: PayloadSpec, *, posted: bool) -> Form:
        """Return the form of the handler's arguments, over the payload of the task."""
        stored = self.task.payload if isinstance(self.task.payload, dict) else {}
        form = spec.form(self.request.POST if posted else None, initial=stored)
        if spec.own_form is None:
            # The admin takes help texts for HTML; these quote defaults from the code.
            for field in form.fields.values():
                field.help_text = conditional_escape(field.help_text)
        return form

    def queue(self, spec: PayloadSpec, form: Form) -> HttpResponse | None:
        """Queue the run and go to its page; None if the payload was refused after all."""
        try:
            execution = self.admin.queue_run(
                self.request,
                self.task,
                spec.payload_from(form),
                test_mode=self.how.is_valid() and self.how.cleaned_data["test_mode"],
            )
        except InvalidPayload as error:
            for field, sentences in error.errors.items():
                form.add_error(field if field in form.fields else None, sentences)
            return None
        said = _("Queued as execution #%d: the next free worker runs it.") % execution.pk
        self.admin.message_user(self.request, said, messages.SUCCESS)
        if may_view(self.site, self.request, Execution):
            return HttpResponseRedirect(url(self.site, "execution_change", execution.pk))
        return HttpResponseRedirect(self.way_back())

    def show(self, form: Form) -> HttpResponse:
        """Show the form."""
        return self.page(
            form,
            title=_("Run %s now") % self.task.name,
            verb=_("Run now"),
            way_back=self.way_back(),
            original=self.task,
            how=as_fieldset(self.how),
            has_view_permission=self.admin.has_view_permission(self.request, self.task),
        )

    def way_back(self) -> str:
        """Return the address of the task's page, or of one that the user may see."""
        if self.admin.has_view_permission(self.request, self.task):
            return url(self.site, "task_change", self.task.pk)
        return reverse("admin:index", current_app=self.site.name)
