"""The page that runs a task now, with arguments from a form."""

from __future__ import annotations

from typing import Any, Protocol

from django.contrib.admin import ModelAdmin
from django.forms import BooleanField, Form
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduled_tasks.admin.form_page import as_fieldset
from scheduled_tasks.admin.payload_page import PayloadPage
from scheduled_tasks.models import Execution, Task


class RunOptionsForm(Form):
    """Options of the run. The prefix keeps them apart from arguments of the same name."""

    prefix = "run"

    test_mode = BooleanField(
        label=gettext_lazy("Test mode"),
        required=False,
        help_text=gettext_lazy("Dry run: context.test_mode is set and the outcome is not counted."),
    )


class QueueRun(Protocol):
    """Queues a run of the task and returns it."""

    def __call__(self, payload: dict[str, Any], *, test_mode: bool) -> Execution:
        """Raise ScheduledTasksError if the task cannot run."""


class RunNowPage(PayloadPage):
    """One request to the page. ``queue_run`` is called with the payload."""

    template = "admin/scheduled_tasks/task/run_now.html"
    subject_view = "task_change"

    def __init__(
        self, admin: ModelAdmin[Any], request: HttpRequest, task: Task, queue_run: QueueRun
    ) -> None:
        super().__init__(admin, request, task)
        self.task = task
        self.queue_run = queue_run
        self.options = RunOptionsForm(request.POST if request.method == "POST" else None)

    def queue(self, payload: dict[str, Any]) -> Execution:
        test_mode = self.options.is_valid() and self.options.cleaned_data["test_mode"]
        return self.queue_run(payload, test_mode=test_mode)

    def show(self, form: Form) -> HttpResponse:
        return self.render(
            form,
            title=_("Run %s now") % self.task.name,
            submit_label=_("Run now"),
            back_url=self.back_url(),
            original=self.task,
            options=as_fieldset(self.options),
            has_view_permission=self.admin.has_view_permission(self.request, self.task),
        )
