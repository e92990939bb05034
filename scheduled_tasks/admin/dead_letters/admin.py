"""Dead letters: what failed for good and waits for somebody, grouped by cause."""

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
from scheduled_tasks.admin.confirmation import Question, QuestionPage, ResolveForm
from scheduled_tasks.admin.dead_letters.groups import beginnings, groups
from scheduled_tasks.admin.executions.bulk_actions import Settling
from scheduled_tasks.admin.executions.selection import CHOSEN, as_text, chosen_ids, newest
from scheduled_tasks.admin.filters import CauseFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import RunPermission
from scheduled_tasks.models import DeadLetter, Execution


@admin.register(DeadLetter)
class DeadLetterAdmin(RunPermission, ReadOnlyAdmin):
    """One page of groups; a group is requeued or resolved as a whole."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let those in who may see executions."""
        return bool(request.user.has_perm("scheduled_tasks.view_execution"))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: they are resolved, or deleted as the executions that they are."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """Return the page and what its buttons lead to; there are no others."""
        view, name = self.admin_site.admin_view, "scheduled_tasks_deadletter"
        return [
            path("", view(self.changelist_view), name=f"{name}_changelist"),
            path("<str:cause>/requeue/", view(self.requeue_view), name=f"{name}_requeue"),
            path("<str:cause>/resolve/", view(self.resolve_view), name=f"{name}_resolve"),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Show the groups."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Dead letters"),
            "media": self.media,
            "groups": groups(self.admin_site),
            "may_run": self.has_run_permission(request),
            **(extra_context or {}),
        }
        return TemplateResponse(
            request, "admin/scheduled_tasks/deadletter/change_list.html", context
        )

    def requeue_view(self, request: HttpRequest, cause: str) -> HttpResponse:
        """Ask whether to, then run all of a group once more."""
        ids = self.members(request, cause)
        said = ngettext("Requeue %d failure", "Requeue %d failures", len(ids))
        return self.ask(
            request,
            ids,
            title=said % len(ids),
            verb=_("Requeue"),
            form=forms.Form,
            answer=lambda _reason: Settling(self, request, ids).requeue(),
            remark=_("Each is run once more, with its own payload."),
        )

    def resolve_view(self, request: HttpRequest, cause: str) -> HttpResponse:
        """Ask how it was settled, then resolve all of a group."""
        ids = self.members(request, cause)
        said = ngettext("Resolve %d failure", "Resolve %d failures", len(ids))
        return self.ask(
            request,
            ids,
            title=said % len(ids),
            verb=_("Resolve"),
            form=ResolveForm,
            answer=Settling(self, request, ids).resolve,
            remark=_("They wait for nobody any more, and are not run again."),
        )

    def members(self, request: HttpRequest, cause: str) -> list[int]:
        """Return what the user was asked about, or is to be asked about: all of a group."""
        if not (self.has_view_permission(request) and self.has_run_permission(request)):
            raise PermissionDenied
        group = Execution.objects.dead().filter(error_fingerprint=CauseFilter.fingerprint(cause))
        if CHOSEN in request.POST:
            return chosen_ids(self, request, group)
        return newest(self, request, group)

    def ask(self, request: HttpRequest, ids: list[int], **asked: Any) -> HttpResponse:
        """Ask about a group, and do what was asked for with the answer."""
        page = url(self.admin_site, "deadletter_changelist")
        if not ids:
            said = _("Nothing of this cause waits for anybody any more.")
            self.message_user(request, said, messages.INFO)
            return HttpResponseRedirect(page)
        errors = [row.short_error for row in beginnings(ids[:1]).values()]
        question = Question(
            **asked,
            way_back=page,
            concerned=errors,
            trail=[(page, capfirst(self.opts.verbose_name_plural))],
            hidden={CHOSEN: as_text(ids)},
        )
        return QuestionPage(self, request, question).respond()
