"""Pages with a form for the arguments of a handler, which queue a run with these arguments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import conditional_escape
from django.utils.translation import gettext as _

from scheduled_tasks.admin.form_page import MAX_FORM_LENGTH, FormPage, json_length
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import may_change_tasks, may_view
from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.models import Execution, Task


class PayloadPage(FormPage, ABC):
    """One request to such a page. Subclasses show the form and queue the run."""

    #: The name of the view of ``subject``.
    subject_view: str

    def __init__(
        self, admin: ModelAdmin[Any], request: HttpRequest, subject: Task | Execution
    ) -> None:
        super().__init__(admin, request)
        self.admin = admin
        self.subject = subject

    def respond(self) -> HttpResponse:
        """Queue the run if the form is valid; otherwise show the form."""
        try:
            spec = registry.get(self.subject.handler).spec
        except ScheduledTasksError as error:
            return self.refuse(error)
        if (length := json_length(self.subject.payload)) > MAX_FORM_LENGTH:
            return self.refuse(too_long_for_a_form(length))
        posted = self.request.method == "POST"
        form = self.form(spec, posted=posted)
        if posted and form.is_valid():
            return self.submit(spec, form) or self.show(form)
        return self.show(form)

    def form(self, spec: PayloadSpec, *, posted: bool) -> Form:
        """Return the form for the arguments, filled with the payload of the subject."""
        stored = self.subject.payload if isinstance(self.subject.payload, dict) else {}
        form = spec.form(self.request.POST if posted else None, initial=stored)
        if self.hides_secrets():
            form.hide_secrets()
        if spec.custom_form is None:
            # The admin renders help texts as HTML; these quote defaults from the code.
            for field in form.fields.values():
                field.help_text = conditional_escape(field.help_text)
        return form

    def hides_secrets(self) -> bool:
        """Whether stored secrets are masked: who may not change a task does not read them."""
        return not may_change_tasks(self.request)

    def submit(self, spec: PayloadSpec, form: Form) -> HttpResponse | None:
        """Queue the run and redirect to it. Return None if the payload was refused."""
        try:
            execution = self.queue(spec.payload_from(form))
        except InvalidPayload as error:
            for field, sentences in error.errors.items():
                form.add_error(field if field in form.fields else None, sentences)
            return None
        except ScheduledTasksError as error:
            return self.refuse(error)
        self.admin.message_user(self.request, queued_message(execution), messages.SUCCESS)
        if may_view(self.site, self.request, Execution):
            return HttpResponseRedirect(url(self.site, "execution_change", execution.pk))
        return HttpResponseRedirect(self.back_url())

    def refuse(self, why: object) -> HttpResponse:
        """Redirect with a message that explains why nothing was queued."""
        self.admin.message_user(self.request, str(why), messages.ERROR)
        return HttpResponseRedirect(self.back_url())

    @abstractmethod
    def queue(self, payload: dict[str, Any]) -> Execution:
        """Queue the run and return it. Raise InvalidPayload or another ScheduledTasksError."""

    @abstractmethod
    def show(self, form: Form) -> HttpResponse:
        """Return the page with the form."""

    def back_url(self) -> str:
        """Return the URL of the subject, or of the index if the user may not see the subject."""
        if self.admin.has_view_permission(self.request, self.subject):
            return url(self.site, self.subject_view, self.subject.pk)
        return reverse("admin:index", current_app=self.site.name)


def queued_message(execution: Execution) -> str:
    return _("Queued as execution #%d. It runs as soon as a worker is free.") % execution.pk


def too_long_for_a_form(length: int) -> str:
    message = _(
        "The payload is too long to be edited here: it has %d characters. The actions of the "
        "lists run it as it is."
    )
    return message % length
