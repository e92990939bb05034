"""Alerts: what is wrong, what was, and who was told."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import F, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.translation import gettext as _g
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from scheduled_tasks.admin import display
from scheduled_tasks.admin.alerts.deliveries import deliveries_of
from scheduled_tasks.admin.alerts.sending_page import SendTestPage
from scheduled_tasks.admin.base import HistoryAdmin
from scheduled_tasks.admin.bulk import BulkAdmin
from scheduled_tasks.admin.filters import OneTaskFilter, OpenFilter
from scheduled_tasks.admin.links import task_link, url
from scheduled_tasks.admin.permissions import may_manage_alerts, may_view_deliveries, user_of
from scheduled_tasks.exceptions import InvalidSettings
from scheduled_tasks.models import Alert, Execution
from scheduled_tasks.operations.alerts import clear_alerts

#: Alerts that one request clears.
MAX_CLEARED = 1_000


@admin.register(Alert)
class AlertAdmin(BulkAdmin, HistoryAdmin):
    """The alerts of all tasks, workers and services: the open ones first, then the newest."""

    list_display = (
        "condition",
        "about_and_message",
        "severity_badge",
        "state_badge",
        "raised_moment",
        "cleared_moment",
    )
    list_filter = (OpenFilter, OneTaskFilter, "condition", "severity")
    actions = ("clear",)
    search_fields = ("task_name", "subject")
    search_help_text = _("Search by task name or subject")
    ordering = (F("cleared_at").desc(nulls_first=True), "-raised_at")

    def has_delete_permission(self, request: HttpRequest, obj: Alert | None = None) -> bool:
        """Refuse: alerts are cleared, and old ones expire."""
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may clear alerts."""
        return may_manage_alerts(request)

    @admin.action(description=_("Clear selected alerts"), permissions=["manage"])
    def clear(self, request: HttpRequest, queryset: QuerySet[Alert]) -> None:
        """Clear the open ones in the user's name, with log entries."""
        selected = Alert.objects.on_primary().open().filter(pk__in=queryset.order_by().values("pk"))
        found = list(selected.only("task")[: MAX_CLEARED + 1])
        try:
            done = clear_alerts(found[:MAX_CLEARED], by=user_of(request))
        except InvalidSettings as error:
            self.message_user(request, str(error), messages.ERROR)
            return
        LogEntry.objects.log_actions(request.user.pk, done, CHANGE, _g("Cleared."))  # type: ignore[arg-type]
        summary = ngettext("%d alert cleared.", "%d alerts cleared.", len(done)) % len(done)
        self.message_user(request, summary, messages.SUCCESS if done else messages.INFO)
        if len(found) > MAX_CLEARED:
            left = _g("More are selected. Clear them again to clear the rest.")
            self.message_user(request, left, messages.WARNING)

    def for_lists(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Defer long columns, except for the beginning of the message."""
        short_message = Left("message", display.MAX_SUMMARY_LENGTH + 1)
        rows: QuerySet[Alert] = queryset.annotate(short_message=short_message)
        return rows.defer("message", "details", "cleared_because")

    def get_fieldsets(self, request: HttpRequest, obj: Alert | None = None) -> Any:
        """Leave out what the alert does not have."""
        if obj is None:
            return ()
        names = {
            "task_page": bool(obj.task_name),
            "subject": bool(obj.subject),
            "condition": True,
            "severity_badge": True,
            "state_badge": True,
            "message_text": True,
            "execution_link": obj.execution_id is not None,
            "raised_moment": True,
            "reminded_moment": obj.reminded_at is not None,
            "cleared_text": obj.cleared_at is not None,
            "details_text": bool(obj.details),
        }
        return ((None, {"fields": [name for name, is_shown in names.items() if is_shown]}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Alert | None = None) -> Any:
        return [
            name for _title, shown in self.get_fieldsets(request, obj) for name in shown["fields"]
        ]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.send_test_view)
        return [path("test/", view, name="scheduled_tasks_alert_test"), *super().get_urls()]

    def send_test_view(self, request: HttpRequest) -> HttpResponse:
        """Send a test alert by the notifier that the user chooses."""
        if not may_manage_alerts(request):
            raise PermissionDenied
        return SendTestPage(self, request).respond()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        context = extra_context or {}
        if may_manage_alerts(request):
            context = {"test_url": url(self.admin_site, "alert_test"), **context}
        return super().changelist_view(request, context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **options: Any
    ) -> HttpResponse:
        """Show what was sent of the alert below it."""
        if (alert := context["original"]) is not None and may_view_deliveries(request):
            context["deliveries"] = deliveries_of(alert)
        return super().render_change_form(request, context, *args, **options)

    @admin.display(description=_("about"))
    def about_and_message(self, alert: Any) -> str:
        """Return the task or subject and the message. It needs a row of ``for_lists``."""
        about = alert.task_name or alert.subject
        message = display.truncated(alert.short_message)
        return format_html("{}{}", about, display.small_text(message))

    @admin.display(description=_("severity"))
    def severity_badge(self, alert: Alert) -> str:
        return display.badge(alert.severity, alert.get_severity_display())

    @admin.display(description=_("state"))
    def state_badge(self, alert: Alert) -> str:
        if alert.cleared_at is None:
            return display.badge("open", _g("open"))
        return display.badge("cleared", _g("cleared"))

    @admin.display(description=_("raised"))
    def raised_moment(self, alert: Alert) -> str:
        return display.moment(alert.raised_at)

    @admin.display(description=_("reminded"))
    def reminded_moment(self, alert: Alert) -> str:
        return display.moment(alert.reminded_at)

    @admin.display(description=_("cleared"))
    def cleared_moment(self, alert: Alert) -> str:
        return display.moment(alert.cleared_at)

    @admin.display(description=_("cleared"))
    def cleared_text(self, alert: Alert) -> str:
        """Return when, and why."""
        because = display.truncated(alert.cleared_because, display.MAX_TEXT_LENGTH)
        return format_html("{} {}", display.moment(alert.cleared_at), because)

    @admin.display(description=_("message"))
    def message_text(self, alert: Alert) -> str:
        return display.long_text(alert.message, limit=display.MAX_TEXT_LENGTH)

    @admin.display(description=_("details"))
    def details_text(self, alert: Alert) -> str:
        return display.pretty_json(alert.details)

    @admin.display(description=_("task"))
    def task_page(self, alert: Alert) -> str:
        """Link to the task while it exists."""
        return task_link(self.admin_site, alert)

    @admin.display(description=_("execution"))
    def execution_link(self, alert: Alert) -> str:
        """Link to the execution while it exists."""
        number = f"#{alert.execution_id}"
        execution = Execution.objects.filter(pk=alert.execution_id or 0).only("pk").first()
        if execution is None:
            return _g("%s (deleted)") % number
        if not self.admin_site.is_registered(Execution):
            return number
        page = url(self.admin_site, "execution_change", execution.pk)
        return format_html('<a href="{}">{}</a>', page, number)
