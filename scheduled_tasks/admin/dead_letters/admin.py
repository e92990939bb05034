"""Failures: executions that failed for good and are not resolved, grouped by cause."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from scheduled_tasks.admin.base import ReadOnlyAdmin
from scheduled_tasks.admin.confirmation import Confirmation, ConfirmationPage, ResolveForm
from scheduled_tasks.admin.dead_letters.groups import groups, with_short_errors
from scheduled_tasks.admin.executions.bulk_changes import RequeueExecutions, ResolveExecutions
from scheduled_tasks.admin.filters import CauseFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import RunPermission
from scheduled_tasks.admin.selection import SELECTED, as_text, newest, selected_ids
from scheduled_tasks.models import DeadLetter, Execution


@admin.register(DeadLetter)
class DeadLetterAdmin(RunPermission, ReadOnlyAdmin):
    """One page of groups. A group is requeued or resolved as a whole."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the user may see executions; there is no permission of its own."""
        return bool(request.user.has_perm("scheduled_tasks.view_execution"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: failures are resolved, or deleted in the list of executions."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the page and the URLs of its buttons; it has none of Django's own pages."""
        view, name = self.admin_site.admin_view, "scheduled_tasks_deadletter"
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("<str:cause>/requeue/", view(self.requeue_view), name=f"{name}_requeue"),
            path("<str:cause>/resolve/", view(self.resolve_view), name=f"{name}_resolve"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": capfirst(self.opts.verbose_name_plural),
            "media": self.media,
            "groups": groups(self.admin_site),
            "may_run": self.has_run_permission(request),
            **(extra_context or {}),
        }
        return TemplateResponse(
            request, "admin/scheduled_tasks/deadletter/change_list.html", context
        )

    def requeue_view(self, request: HttpRequest, cause: str) -> HttpResponse:
        """Ask for confirmation, then requeue a whole group."""
        ids = self.member_ids(request, cause)
        title = ngettext("Requeue %d failure", "Requeue %d failures", len(ids))
        return self.confirm(
            request,
            ids,
            title=title % len(ids),
            submit_label=_("Requeue"),
            form=forms.Form,
            confirmed=lambda _reason: RequeueExecutions(self, request).apply(ids),
            help_text=_("Each one is run again with its own payload."),
        )

    def resolve_view(self, request: HttpRequest, cause: str) -> HttpResponse:
        """Ask for a reason, then resolve a whole group."""
        ids = self.member_ids(request, cause)
        title = ngettext("Resolve %d failure", "Resolve %d failures", len(ids))
        return self.confirm(
            request,
            ids,
            title=title % len(ids),
            submit_label=_("Resolve"),
            form=ResolveForm,
            confirmed=lambda reason: ResolveExecutions(self, request, reason).apply(ids),
            help_text=_("They will be marked resolved and not run again."),
        )

    def member_ids(self, request: HttpRequest, cause: str) -> list[int]:
        """Return the failures of a group; once confirmed, those that the user was shown."""
        if not (self.has_view_permission(request) and self.has_run_permission(request)):
            raise PermissionDenied
        group = Execution.objects.dead().filter(error_fingerprint=CauseFilter.fingerprint(cause))
        if SELECTED in request.POST:
            return selected_ids(self, request, group)
        return newest(self, request, group)

    def confirm(self, request: HttpRequest, ids: list[int], **options: Any) -> HttpResponse:
        """Return the confirmation page, or act once the user has confirmed."""
        page = url(self.admin_site, "deadletter_changelist")
        if not ids:
            message = _("There are no unresolved failures with this cause.")
            self.message_user(request, message, messages.INFO)
            return HttpResponseRedirect(page)
        errors = [row.short_error for row in with_short_errors(ids[:1]).values()]
        confirmation = Confirmation(
            **options,
            back_url=page,
            subjects=errors,
            breadcrumbs=[(page, capfirst(self.opts.verbose_name_plural))],
            hidden={SELECTED: as_text(ids)},
        )
        return ConfirmationPage(self, request, confirmation).respond()
