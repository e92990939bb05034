"""Global pauses: started and ended here, and kept as the reason why runs were skipped."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
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
from scheduled_tasks.admin.validators import validate_future
from scheduled_tasks.models import Pause, Task
from scheduled_tasks.operations.pauses import pause_all_tasks, resume_all_tasks


class PauseForm(forms.ModelForm):
    """When the pause ends, and the reason for it."""

    class Meta:
        model = Pause
        fields = ("until", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page of an existing pause has no form fields.
        if "until" in self.fields:
            self.fields["until"].validators.append(validate_future)


@admin.register(Pause)
class PauseAdmin(RetryingAdmin, StyledAdmin):
    """Global pauses. Adding one starts it. Pauses cannot be changed or deleted."""

    form = PauseForm
    list_display = ("begun_moment", "state_badge", "until_moment", "reason", "begun_by", "ended")
    list_display_links = ("begun_moment",)
    sortable_by = ()
    page_fields = ("state_badge", "reason", "until_moment", "begun_moment", "begun_by", "ended")

    def get_fieldsets(self, request: HttpRequest, obj: Pause | None = None) -> Any:
        """Return the form fields of a new pause, or all fields of an existing one."""
        return ((None, {"fields": ("until", "reason") if obj is None else self.page_fields}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Pause | None = None) -> Any:
        return () if obj is None else self.page_fields

    def has_change_permission(self, request: HttpRequest, obj: Pause | None = None) -> bool:
        """Refuse for a row. Without a row it is the permission to resume."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Pause | None = None) -> bool:
        """Refuse: skipped executions refer to their pause."""
        return False

    def save_model(self, request: HttpRequest, obj: Pause, form: Any, change: Any) -> None:
        """Start the pause. It replaces an active one."""
        pause = pause_all_tasks(until=obj.until, reason=obj.reason, by=user_of(request))
        # The log entry and the message name the pause as it is stored, without secrets.
        obj.pk, obj.reason = pause.pk, pause.reason

    def response_add(
        self, request: HttpRequest, obj: Pause, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Redirect with a message that says what was done, not that a row was added."""
        self.message_user(request, str(obj), messages.SUCCESS)
        return self.response_post_save_add(request, obj)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.resume_view)
        return [path("resume/", view, name="scheduled_tasks_pause_resume"), *super().get_urls()]

    def resume_view(self, request: HttpRequest) -> HttpResponse:
        """End the active pauses and redirect to a page that the user may see."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        self.resume(request)
        # The permission to resume does not include the permission to see tasks.
        model = "task" if may_view(self.admin_site, request, Task) else "pause"
        return HttpResponseRedirect(url(self.admin_site, f"{model}_changelist"))

    def resume(self, request: HttpRequest) -> None:
        """End the active pauses, with log entries and a message."""
        now = timezone.now()
        # Read first: afterwards they are no longer active, and the log needs their rows.
        ending = list(Pause.objects.in_force(now))
        if not resume_all_tasks(by=user_of(request), now=now):
            self.message_user(request, _g("There was no global pause."), messages.INFO)
            return
        for pause in ending:
            self.log_change(request, pause, _g("Resumed."))
        self.message_user(request, _g("All tasks resumed."), messages.SUCCESS)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the form under its own title, not as "Add global pause"."""
        context = {
            "title": _g("Pause all tasks"),
            **(extra_context or {}),
        }
        return super().add_view(request, form_url, context)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = {**banner_context(self.admin_site, request), **(extra_context or {})}
        return super().changelist_view(request, context)

    @admin.display(description=_("started"))
    def begun_moment(self, pause: Pause) -> str:
        return display.moment(pause.begun_at)

    @admin.display(description=_("until"))
    def until_moment(self, pause: Pause) -> str:
        return display.moment(pause.until) if pause.until else _g("until resumed")

    @admin.display(description=_("state"))
    def state_badge(self, pause: Pause) -> str:
        now = timezone.now()
        if pause.covers(now):
            return display.badge("paused", _g("active"))
        return display.badge("over", _g("ended"))

    @admin.display(description=_("ended early"))
    def ended(self, pause: Pause) -> str:
        if pause.ended_at is None:
            return display.EMPTY
        moment = display.moment(pause.ended_at)
        by = _g("by %s") % pause.ended_by if pause.ended_by else ""
        return format_html("{} {}", moment, by)
