"""The page that asks for confirmation, and for a reason, before executions are changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.widgets import AdminTextInputWidget
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin.form_page import FormPage

#: The name of the submit button, which tells the form from the request that led to it.
CONFIRMED = "confirmed"
#: The name of Django's action that deletes.
DELETE = "delete_selected"
MAX_REASON_LENGTH = 1_000


class CancelForm(forms.Form):
    """An optional reason for the cancellation."""

    reason = forms.CharField(
        label=_("Reason"),
        widget=AdminTextInputWidget,
        max_length=MAX_REASON_LENGTH,
        required=False,
        help_text=_("Shown with the execution, along with your name."),
    )


class ResolveForm(forms.Form):
    """How the failure was resolved."""

    reason = forms.CharField(
        label=_("Reason"),
        widget=AdminTextInputWidget,
        max_length=MAX_REASON_LENGTH,
        help_text=_("How it was resolved. Shown with the execution, along with your name."),
    )


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """What the page asks, and what it does once the user has confirmed.

    ``confirmed`` is called with the reason; it may return a page to show instead of ``back_url``.
    ``subjects`` name what is about to change, ``breadcrumbs`` are pairs of URL and label, and
    ``hidden`` is posted along with the form. Without a ``form``, nothing can be confirmed.
    """

    title: str
    submit_label: str
    form: type[forms.Form] | None
    confirmed: Callable[[str], HttpResponse | None]
    back_url: str
    submit_name: str = CONFIRMED
    subjects: Sequence[str] = ()
    help_text: str = ""
    breadcrumbs: Sequence[tuple[str, Any]] = ()
    hidden: Mapping[str, str] = field(default_factory=dict)


class ConfirmationPage(FormPage):
    """One request to such a page."""

    template = "admin/scheduled_tasks/confirmation.html"

    def __init__(
        self, admin: ModelAdmin[Any], request: HttpRequest, confirmation: Confirmation
    ) -> None:
        super().__init__(admin, request)
        self.confirmation = confirmation

    def respond(self) -> HttpResponse:
        confirmation = self.confirmation
        posted = confirmation.submit_name in self.request.POST
        form = (confirmation.form or forms.Form)(self.request.POST if posted else None)
        if posted and confirmation.form and form.is_valid():
            page = confirmation.confirmed(form.cleaned_data.get("reason", ""))
            return page or HttpResponseRedirect(confirmation.back_url)
        return self.render(
            form,
            title=confirmation.title,
            submit_label=confirmation.submit_label,
            back_url=confirmation.back_url,
            subjects=confirmation.subjects,
            help_text=confirmation.help_text,
            breadcrumbs=confirmation.breadcrumbs,
            hidden=confirmation.hidden,
            submit_name=confirmation.submit_name,
            may_submit=confirmation.form is not None,
        )
