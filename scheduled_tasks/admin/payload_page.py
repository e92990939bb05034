"""Pages with the form of a handler's arguments, which start a run with what it holds."""

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

from scheduled_tasks.admin.form_page import FormPage
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import may_view
from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.handlers.payloads import PayloadSpec
from scheduled_tasks.handlers.registry import registry
from scheduled_tasks.models import Execution, Task


class PayloadPage(FormPage, ABC):
    """One request to such a page; those derived from it say what it is about, and start it."""

    #: The name of the view that shows what it is about.
    page_of: str

    def __init__(
        self, admin: ModelAdmin[Any], request: HttpRequest, about: Task | Execution
    ) -> None:
        super().__init__(admin, request)
        self.admin = admin
        self.about = about

    def respond(self) -> HttpResponse:
        """Start the run of a valid form; otherwise show the form."""
        try:
            spec = registry.get(self.about.handler).spec
        except ScheduledTasksError as error:
            return self.refuse(error)
        posted = self.request.method == "POST"
        form = self.form(spec, posted=posted)
        if posted and form.is_valid():
            return self.queue(spec, form) or self.show(form)
        return self.show(form)

    def form(self, spec: PayloadSpec, *, posted: bool) -> Form:
        """Return the form of the handler's arguments, over the payload that there is."""
        stored = self.about.payload if isinstance(self.about.payload, dict) else {}
        form = spec.form(self.request.POST if posted else None, initial=stored)
        if spec.custom_form is None:
            # The admin takes help texts for HTML; these quote defaults from the code.
            for field in form.fields.values():
                field.help_text = conditional_escape(field.help_text)
        return form

    def queue(self, spec: PayloadSpec, form: Form) -> HttpResponse | None:
        """Queue the run and go to its page; None if the payload was refused after all."""
        try:
            execution = self.start(spec.payload_from(form))
        except InvalidPayload as error:
            for field, sentences in error.errors.items():
                form.add_error(field if field in form.fields else None, sentences)
            return None
        except ScheduledTasksError as error:
            return self.refuse(error)
        said = _("Queued as execution #%d: the next free worker runs it.") % execution.pk
        self.admin.message_user(self.request, said, messages.SUCCESS)
        if may_view(self.site, self.request, Execution):
            return HttpResponseRedirect(url(self.site, "execution_change", execution.pk))
        return HttpResponseRedirect(self.way_back())

    def refuse(self, error: ScheduledTasksError) -> HttpResponse:
        """Say why nothing was started, and go back."""
        self.admin.message_user(self.request, str(error), messages.ERROR)
        return HttpResponseRedirect(self.way_back())

    @abstractmethod
    def start(self, payload: dict[str, Any]) -> Execution:
        """Queue the run and return it. Raise InvalidPayload, or what else stands against it."""

    @abstractmethod
    def show(self, form: Form) -> HttpResponse:
        """Show the form."""

    def way_back(self) -> str:
        """Return the address of the page it is about, or of one that the user may see."""
        if self.admin.has_view_permission(self.request, self.about):
            return url(self.site, self.page_of, self.about.pk)
        return reverse("admin:index", current_app=self.site.name)
