"""Pauses of everything: begun and ended here, and kept to say why slots have no execution."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.html import format_html
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import StyledAdmin
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.pauses.banner import banner_context
from scheduled_tasks.admin.permissions import may_view, user_of
from scheduled_tasks.admin.retrying import RetryingAdmin
from scheduled_tasks.admin.validators import refuse_past
from scheduled_tasks.models import Pause, Task


class PauseForm(forms.ModelForm):
    """Until when, and why."""

    class Meta:
        """What a person says of a pause; the rest is known."""

        model = Pause
        fields = ("until", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "until" in self.fields:
            self.fields["until"].validators.append(refuse_past)


@admin.register(Pause)
class PauseAdmin(RetryingAdmin, StyledAdmin):
    """Pauses of everything. To add one is to begin it; none is changed or deleted."""

    form = PauseForm
    list_display = ("begun_moment", "standing", "until_moment", "reason", "begun_by", "ended")
    list_display_links = ("begun_moment",)
    sortable_by = ()
    said = ("standing", "reason", "until_moment", "begun_moment", "begun_by", "ended")

    def get_fieldsets(self, request: HttpRequest, obj: Pause | None = None) -> Any:
        """Ask what a person has to say of a new pause; show all of one that there is."""
        return ((None, {"fields": ("until", "reason") if obj is None else self.said}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Pause | None = None) -> Any:
        """Let nobody rewrite a pause that has begun."""
        return () if obj is None else self.said

    def has_change_permission(self, request: HttpRequest, obj: Pause | None = None) -> bool:
        """Refuse for a row; in general it is the permission to end pauses."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Pause | None = None) -> bool:
        """Refuse: a pause says why slots have no execution."""
        return False

    def save_model(self, request: HttpRequest, obj: Pause, form: Any, change: Any) -> None:
        """Begin the pause; it takes the place of one that is in force."""
        by = user_of(request)
        begun = Pause.objects.begin(timezone.now(), until=obj.until, reason=obj.reason, by=by)
        obj.pk = begun.pk

    def get_urls(self) -> list[URLPattern]:
        """Add the address that the banner's button posts to."""
        view = self.admin_site.admin_view(self.resume_view)
        return [path("resume/", view, name="scheduled_tasks_pause_resume"), *super().get_urls()]

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """End the pauses that are in force, and go to a page that the user may see."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self.resume(request)
        shown = "task" if may_view(self.admin_site, request, Task) else "pause"
        return HttpResponseRedirect(url(self.admin_site, f"{shown}_changelist"))

    def resume(self, request: HttpRequest) -> None:
        """End the pauses that are in force, and say so."""
        now = timezone.now()
        ending = list(Pause.objects.in_force(now))
        if not Pause.objects.resume(now, by=user_of(request)):
            self.message_user(request, _g("Nothing was paused."), messages.INFO)
            return
        for pause in ending:
            self.log_change(request, pause, _g("Resumed."))
        self.message_user(request, _g("The pause has ended."), messages.SUCCESS)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Call it what it does, and do it once."""
        context = {
            "title": _g("Pause everything"),
            "show_save_and_add_another": False,
            "show_save_and_continue": False,
            **(extra_context or {}),
        }
        return super().add_view(request, form_url, context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Say on top of the list whether everything is paused."""
        context = {
            "title": _g("Pauses of everything"),
            **banner_context(self.admin_site, request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)  # type: ignore[return-value]

    @admin.display(description=_("begun"))
    def begun_moment(self, pause: Pause) -> str:
        """Return when it began."""
        return display.moment(pause.begun_at)

    @admin.display(description=_("until"))
    def until_moment(self, pause: Pause) -> str:
        """Return until when it was to last."""
        return display.moment(pause.until) if pause.until else _g("ended by hand")

    @admin.display(description=_("state"))
    def standing(self, pause: Pause) -> str:
        """Return whether it holds."""
        now = timezone.now()
        if pause.covers(now):
            return display.badge("paused", _g("in force"))
        return display.badge("over", _g("over"))

    @admin.display(description=_("ended early"))
    def ended(self, pause: Pause) -> str:
        """Return when and by whom it was ended before its time."""
        if pause.ended_at is None:
            return display.EMPTY
        moment = display.moment(pause.ended_at)
        by = _g("by %s") % pause.ended_by if pause.ended_by else ""
        return format_html("{} {}", moment, by)
