"""Pages with one form that asks a person how to act on tasks."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import AdminForm
from django.forms import Form
from django.http import HttpRequest
from django.template.response import TemplateResponse


class FormPage:
    """One request to such a page; the pages derived from it say what to ask, and do it."""

    template: ClassVar[str]

    def __init__(self, admin: ModelAdmin[Any], request: HttpRequest) -> None:
        self.site = admin.admin_site
        self.request = request
        self.opts = admin.opts
        self.media = admin.media

    def page(
        self, form: Form, *, title: str, verb: str, way_back: str, **more: Any
    ) -> TemplateResponse:
        """Show the form; ``verb`` stands on its button, ``way_back`` is where Cancel leads."""
        context = {
            **self.site.each_context(self.request),
            "opts": self.opts,
            "title": title,
            "verb": verb,
            "form": form,
            "adminform": as_fieldset(form),
            "media": self.media + form.media,
            "way_back": way_back,
            **more,
        }
        # What the url tag goes by, so that its links stay within this site.
        self.request.current_app = self.site.name
        return TemplateResponse(self.request, self.template, context)


def as_fieldset(form: Form) -> AdminForm:
    """Return the visible fields of a form as the admin's templates show them."""
    fields = [field.name for field in form.visible_fields()]
    return AdminForm(form, [(None, {"fields": fields})], {})  # type: ignore[arg-type]
