"""The page that runs a task now, with arguments that a person types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.forms import BooleanField, Form
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduled_tasks.admin.form_page import as_fieldset
from scheduled_tasks.admin.payload_page import PayloadPage
from scheduled_tasks.models import Execution, Task

if TYPE_CHECKING:
    from scheduled_tasks.admin.tasks.admin import TaskAdmin


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


class RunNowView(PayloadPage):
    """One request to the run-now page of one task."""

    template = "admin/scheduled_tasks/task/run_now.html"
    page_of = "task_change"
    admin: TaskAdmin

    def __init__(self, admin: TaskAdmin, request: HttpRequest, object_id: str) -> None:
        self.task = task_to_run(admin, request, object_id)
        super().__init__(admin, request, self.task)
        self.how = HowToRun(request.POST if request.method == "POST" else None)

    def start(self, payload: dict[str, Any]) -> Execution:
        """Queue the run in the user's name."""
        test_mode = self.how.is_valid() and self.how.cleaned_data["test_mode"]
        return self.admin.queue_run(self.request, self.task, payload, test_mode=test_mode)

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


def task_to_run(admin: TaskAdmin, request: HttpRequest, object_id: str) -> Task:
    """Return the task, if the user may run it."""
    task: Task | None = admin.get_object(request, object_id)
    if task is None:
        raise Http404
    if not admin.has_run_permission(request, task):
        raise PermissionDenied
    return task
