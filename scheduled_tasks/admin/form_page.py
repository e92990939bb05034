"""Pages with one form, outside Django's own views of the admin."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import AdminForm
from django.forms import Form
from django.http import HttpRequest
from django.template.response import TemplateResponse

#: Characters of a value that a form holds. As HTML it may be six times as long.
MAX_FORM_LENGTH = 20_000


class FormPage:
    """One request to such a page. Subclasses choose the template and act on the form."""

    template: ClassVar[str]

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest) -> None:
        self.site = admin.admin_site
        self.request = request
        self.opts = admin.opts
        self.media = admin.media

    def render(
        self, form: Form, *, title: str, submit_label: str, back_url: str, **more: Any
    ) -> TemplateResponse:
        """Return the page. ``back_url`` is the target of its link next to the button."""
        context = {
            **self.site.each_context(self.request),
            "opts": self.opts,
            "title": title,
            "submit_label": submit_label,
            "may_submit": True,
            "form": form,
            "adminform": as_fieldset(form),
            "media": self.media + form.media,
            "back_url": back_url,
            **more,
        }
        # The url tag reads it, so that links stay within this site.
        self.request.current_app = self.site.name
        return TemplateResponse(self.request, self.template, context)


def as_fieldset(form: Form) -> AdminForm:
    """Return the visible fields of a form as the admin's templates expect them."""
    fields = [field.name for field in form.visible_fields()]
    return AdminForm(form, [(None, {"fields": fields})], {})  # type: ignore[arg-type]


def json_length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))
