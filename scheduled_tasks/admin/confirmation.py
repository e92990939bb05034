"""The page that asks before executions are cancelled, requeued or resolved, and for the reason."""

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

#: What the form posts besides, so that it is told from what led to it.
SUBMITTED = "answer"
LONGEST_REASON = 1_000


class CancelForm(forms.Form):
    """Why it is not wanted any more, if there is something to say."""

    reason = forms.CharField(
        label=_("Reason"),
        widget=AdminTextInputWidget,
        max_length=LONGEST_REASON,
        required=False,
        help_text=_("It is shown with the execution, beside your name."),
    )


class ResolveForm(forms.Form):
    """How a failure was settled."""

    reason = forms.CharField(
        label=_("Reason"),
        widget=AdminTextInputWidget,
        max_length=LONGEST_REASON,
        help_text=_("How it was settled. It is shown with the execution, beside your name."),
    )


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked, and what is done with the answer, the reason.

    ``concerned`` names what it is about, ``trail`` holds address and label of the pages that led
    here, ``way_back`` is where the answer leads, and ``hidden`` is posted with it.
    """

    title: str
    verb: str
    form: type[forms.Form]
    answer: Callable[[str], None]
    way_back: str
    concerned: Sequence[str] = ()
    remark: str = ""
    trail: Sequence[tuple[str, Any]] = ()
    hidden: Mapping[str, str] = field(default_factory=dict)


class QuestionPage(FormPage):
    """One request to such a page."""

    template = "admin/scheduled_tasks/confirmation.html"

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest, question: Question) -> None:
        super().__init__(admin, request)
        self.question = question

    def respond(self) -> HttpResponse:
        """Do what was asked for by a valid form, and go back; otherwise show the form."""
        asked = self.question
        posted = SUBMITTED in self.request.POST
        form = asked.form(self.request.POST if posted else None)
        if posted and form.is_valid():
            asked.answer(form.cleaned_data.get("reason", ""))
            return HttpResponseRedirect(asked.way_back)
        return self.page(
            form,
            title=asked.title,
            verb=asked.verb,
            way_back=asked.way_back,
            concerned=asked.concerned,
            remark=asked.remark,
            trail=asked.trail,
            hidden=asked.hidden,
            submitted=SUBMITTED,
        )
