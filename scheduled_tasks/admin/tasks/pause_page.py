"""The page on which a person says until when the selected tasks pause, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextInputWidget
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.form_page import FormPage
from scheduled_tasks.admin.permissions import user_of
from scheduled_tasks.admin.validators import refuse_past
from scheduled_tasks.models import Task
from scheduled_tasks.models.policies import refuse_unshowable

if TYPE_CHECKING:
    from scheduled_tasks.admin.tasks.actions import TaskActions

#: The columns of a pause.
PAUSE_FIELDS = ("paused_until", "pause_reason")
#: What the form posts besides, so that it is told from the list that led to it.
SUBMITTED = "pause"


class PauseForm(forms.Form):
    """Until when, and why."""

    paused_until = forms.SplitDateTimeField(
        label=_("Until"),
        widget=AdminSplitDateTime,
        validators=[refuse_unshowable, refuse_past],
        help_text=_("Slots before this are skipped."),
    )
    pause_reason = forms.CharField(
        label=_("Reason"),
        widget=AdminTextInputWidget,
        max_length=Task._meta.get_field("pause_reason").max_length,  # noqa: SLF001
        required=False,
        help_text=_("It is shown with the task, and with every slot that is skipped."),
    )


class PauseTasksView(FormPage):
    """One request to the page that pauses tasks: the action of the list, or its form."""

    template = "admin/scheduled_tasks/task/pause.html"

    def __init__(self, admin: TaskActions, request: HttpRequest, queryset: QuerySet[Task]) -> None:
        super().__init__(admin, request)
        self.admin = admin
        self.tasks: Sequence[Task] = list(queryset)

    def respond(self) -> HttpResponse | None:
        """Pause the tasks by a valid form, and go back to the list; otherwise show the form."""
        posted = SUBMITTED in self.request.POST
        form = PauseForm(self.request.POST if posted else None)
        if not (posted and form.is_valid()):
            return self.show(form)
        count = 0
        for task in self.tasks:
            with self.admin.naming_what_refuses(self.request, task):
                task.paused_until = form.cleaned_data["paused_until"]
                task.pause_reason = form.cleaned_data["pause_reason"]
                task.save(update_fields=PAUSE_FIELDS, by=user_of(self.request))
                self.admin.log_change(self.request, task, _g("Paused."))
                count += 1
        self.admin.report(
            self.request, ngettext("%d task paused.", "%d tasks paused.", count), count
        )
        return None

    def show(self, form: forms.Form) -> HttpResponse:
        """Show the form, with the tasks that it is about."""
        count = len(self.tasks)
        return self.page(
            form,
            title=ngettext("Pause %d task", "Pause %d tasks", count) % count,
            verb=_g("Pause"),
            way_back=self.request.get_full_path(),
            tasks=self.tasks,
            checkbox_name=ACTION_CHECKBOX_NAME,
            submitted=SUBMITTED,
        )
