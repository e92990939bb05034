"""The page that asks until when, and why, to pause the selected tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.widgets import AdminTextInputWidget
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.form_page import FormPage
from scheduled_tasks.admin.selection import SELECTED, as_text, names_of
from scheduled_tasks.admin.typed_times import MomentWidget
from scheduled_tasks.admin.validators import validate_future
from scheduled_tasks.models import Task
from scheduled_tasks.models.validators import refuse_unshowable

#: The name of the submit button, which tells the form from the list that led to it.
SUBMITTED = "pause"


class PauseTasksForm(forms.Form):
    """When the pause ends, and the reason for it."""

    paused_until = forms.SplitDateTimeField(
        label=_("Until"),
        widget=MomentWidget,
        validators=[refuse_unshowable, validate_future],
        help_text=_("Scheduled runs before this time are skipped."),
    )
    pause_reason = forms.CharField(
        label=_("Reason"),
        widget=AdminTextInputWidget,
        max_length=Task._meta.get_field("pause_reason").max_length,  # noqa: SLF001
        required=False,
        help_text=_("Shown with the task and with each skipped run."),
    )


class PauseTasksPage(FormPage):
    """One request to the page. ``pause`` is called with the end and the reason."""

    template = "admin/scheduled_tasks/task/pause.html"

    def __init__(
        self,
        admin: ModelAdmin[Any],
        request: HttpRequest,
        ids: Sequence[int],
        pause: Callable[[datetime, str], HttpResponse | None],
    ) -> None:
        super().__init__(admin, request)
        self.ids = ids
        self.pause = pause

    def respond(self) -> HttpResponse | None:
        """Pause if the form is valid; otherwise show the form. Return None for the list."""
        posted = SUBMITTED in self.request.POST
        form = PauseTasksForm(self.request.POST if posted else None)
        if not (posted and form.is_valid()):
            return self.show(form)
        return self.pause(form.cleaned_data["paused_until"], form.cleaned_data["pause_reason"])

    def show(self, form: forms.Form) -> HttpResponse:
        count = len(self.ids)
        return self.render(
            form,
            title=ngettext("Pause %d task", "Pause %d tasks", count) % count,
            submit_label=_g("Pause"),
            back_url=self.request.get_full_path(),
            names=names_of(Task.objects.only("name"), self.ids),
            hidden={
                "action": "pause",
                # Django runs no action unless a row is ticked; SELECTED has them all.
                ACTION_CHECKBOX_NAME: str(self.ids[0]) if self.ids else "0",
                SELECTED: as_text(self.ids),
            },
            submit_name=SUBMITTED,
        )
