"""Maintenance windows: messages about alerts wait until the end of one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _

from scheduled_tasks.admin import display
from scheduled_tasks.admin.base import StyledAdmin
from scheduled_tasks.admin.filters import OneTaskFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.long_select import LongSelect
from scheduled_tasks.admin.permissions import user_of
from scheduled_tasks.admin.retrying import RetryingAdmin
from scheduled_tasks.admin.validators import validate_future
from scheduled_tasks.models import MaintenanceWindow, Task
from scheduled_tasks.operations.maintenance_windows import (
    delete_windows,
    end_window,
    save_window,
)

TASK = MaintenanceWindow._meta.get_field("task")  # noqa: SLF001
MOMENTS = ("starts_at", "ends_at")


class WindowForm(forms.ModelForm):
    """When the window is in force, for what, and the reason for it."""

    # Declared, so that it has no buttons that add or change tasks.
    task = forms.ModelChoiceField(
        queryset=Task.objects.only("name").order_by("name"),
        widget=LongSelect,
        required=False,
        label=capfirst(TASK.verbose_name),
        help_text=TASK.help_text,
    )

    class Meta:
        model = MaintenanceWindow
        fields = ("task", *MOMENTS, "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The page of a window that is over has no form fields.
        if "ends_at" in self.fields:
            self.fields["ends_at"].validators.append(validate_future)

    def clean(self) -> dict[str, Any]:
        """Keep unchanged times exactly as they are: the form has no fractions of a second."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.pk:
            for name in set(MOMENTS) - set(self.changed_data):
                # Nor does it tell the hours apart that a clock shows twice.
                self.errors.pop(name, None)
                cleaned[name] = getattr(self.instance, name)
        return cleaned


@admin.register(MaintenanceWindow)
class MaintenanceWindowAdmin(RetryingAdmin, StyledAdmin):
    """Maintenance windows, those that start last first. What is over cannot be changed."""

    form = WindowForm
    list_display = (
        "starts_moment",
        "state_badge",
        "ends_moment",
        "task_name",
        "reason",
        "created_by",
    )
    list_display_links = ("starts_moment",)
    list_filter = (OneTaskFilter,)
    list_select_related = ("task",)
    sortable_by = ()
    fields = ("task", *MOMENTS, "reason")
    page_fields = (
        "state_badge",
        "task_name",
        "starts_moment",
        "ends_moment",
        "reason",
        "created_by",
    )

    def get_fieldsets(self, request: HttpRequest, obj: MaintenanceWindow | None = None) -> Any:
        """Return the form fields, or what is shown to who may not change the window."""
        if obj is None:
            return ((None, {"fields": self.fields}),)
        if self.has_change_permission(request, obj):
            return ((None, {"fields": ("state_badge", *self.fields, "created_by")}),)
        return ((None, {"fields": self.page_fields}),)

    def get_readonly_fields(
        self, request: HttpRequest, obj: MaintenanceWindow | None = None
    ) -> Any:
        if obj is None:
            return ()
        if self.has_change_permission(request, obj):
            return ("state_badge", "created_by")
        return self.page_fields

    def has_change_permission(
        self, request: HttpRequest, obj: MaintenanceWindow | None = None
    ) -> bool:
        """Refuse for a window that is over: it tells why messages came late."""
        if obj is not None and obj.ends_at <= timezone.now():
            return False
        return super().has_change_permission(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Let a new window start now."""
        now = timezone.now().replace(microsecond=0)
        return {"starts_at": now, **super().get_changeform_initial_data(request)}

    def save_model(
        self, request: HttpRequest, obj: MaintenanceWindow, form: Any, change: Any
    ) -> None:
        """Save the window; what it holds back follows its end."""
        if not change:
            obj.created_by = user_of(request)
        save_window(obj)

    def delete_model(self, request: HttpRequest, obj: MaintenanceWindow) -> None:
        """Delete the window; what it has held back is sent."""
        delete_windows([obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[MaintenanceWindow]) -> None:
        delete_windows(queryset)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "scheduled_tasks_maintenancewindow"
        own = path("<path:object_id>/end/", view(self.end_view), name=f"{name}_end")
        return [own, *super().get_urls()]

    def end_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """End the window now and return to the list."""
        window: MaintenanceWindow | None = self.get_object(request, object_id)
        if window is None:
            raise Http404
        # Not that of the row: a window that has just ended is no mistake of the user.
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if end_window(window):
            self.log_change(request, window, _g("Ended."))
            self.message_user(request, _g("The maintenance window has ended."), messages.SUCCESS)
        else:
            self.message_user(request, _g("It was not in force."), messages.INFO)
        return HttpResponseRedirect(url(self.admin_site, "maintenancewindow_changelist"))

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Offer to end a window that is in force."""
        window = context["original"]
        in_force = window is not None and window.covers(timezone.now())
        if in_force and self.has_change_permission(request, window):
            context["end_url"] = url(self.admin_site, "maintenancewindow_end", window.pk)
        return super().render_change_form(request, context, *args, **options)

    @admin.display(description=_("starts"))
    def starts_moment(self, window: MaintenanceWindow) -> str:
        return display.moment(window.starts_at)

    @admin.display(description=_("ends"))
    def ends_moment(self, window: MaintenanceWindow) -> str:
        return display.moment(window.ends_at)

    @admin.display(description=_("task"))
    def task_name(self, window: MaintenanceWindow) -> str:
        return window.task.name if window.task else _g("everything")

    @admin.display(description=_("state"))
    def state_badge(self, window: MaintenanceWindow) -> str:
        return state_badge(window, timezone.now())


def state_badge(window: MaintenanceWindow, now: datetime) -> str:
    if window.covers(now):
        return display.badge("paused", _g("active"))
    if window.ends_at <= now:
        return display.badge("over", _g("over"))
    return display.badge("coming", _g("coming"))
