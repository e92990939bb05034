"""The buttons of one execution: cancel, requeue with this payload or another, resolve."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from scheduled_tasks.admin.confirmation import CancelForm, Question, QuestionPage, ResolveForm
from scheduled_tasks.admin.executions.requeue_page import RequeueView
from scheduled_tasks.admin.filters import CauseFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.permissions import RunPermission, user_of
from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.tasks import cancel_execution, requeue_execution, resolve_execution

#: What leads to a page, as it stands in its address.
VIEWS = {
    "cancel": "cancel_view",
    "requeue": "requeue_view",
    "requeue/payload": "requeue_edited_view",
    "resolve": "resolve_view",
}


class ExecutionSettling(RunPermission):
    """The pages behind the buttons; whoever comes too late is told how the execution stands."""

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses of the buttons."""
        ours = [
            path(
                f"<int:pk>/{way}/",
                self.admin_site.admin_view(getattr(self, view)),
                name=f"scheduled_tasks_execution_{way.replace('/', '_')}",
            )
            for way, view in VIEWS.items()
        ]
        return [*ours, *super().get_urls()]

    def buttons(self, request: HttpRequest, execution: Execution) -> dict[str, str]:
        """Return the addresses of what the user may do to an execution as it stands."""
        offered: dict[str, str] = {}
        if again := requeued_as(execution):
            offered |= {"again": str(again), "again_url": self.page_of(again)}
        if execution.dead:
            listed = url(self.admin_site, "execution_changelist")
            cause = CauseFilter.key(execution.error_fingerprint)
            offered["alike_url"] = f"{listed}?{CauseFilter.parameter_name}={cause}"
        if self.has_run_permission(request, execution):
            ways = {
                "cancel": execution.may_be_cancelled,
                "requeue": execution.may_be_requeued,
                "requeue_payload": execution.may_be_requeued,
                "resolve": execution.dead,
            }
            for way in (way for way, applies in ways.items() if applies):
                offered[f"{way}_url"] = url(self.admin_site, f"execution_{way}", execution.pk)
        return offered

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask why, then cancel."""
        execution = self.to_be_settled(request, pk)
        return self.ask_about(
            request,
            execution,
            title=_("Cancel %s") % execution,
            verb=_("Cancel execution"),
            form=CancelForm,
            answer=partial(self.cancel_one, request, execution),
            remark=_("What is queued ends at once; what runs is asked to stop, then killed."),
        )

    def resolve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask how it was settled, then resolve."""
        execution = self.to_be_settled(request, pk)
        return self.ask_about(
            request,
            execution,
            title=_("Resolve %s") % execution,
            verb=_("Resolve"),
            form=ResolveForm,
            answer=partial(self.resolve_one, request, execution),
            remark=_("It waits for nobody any more, and is not run again."),
        )

    def requeue_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Queue it once more with its own payload, and go to the new execution."""
        execution = self.to_be_settled(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            again = self.requeue_one(request, execution)
        except ScheduledTasksError as error:
            self.message_user(request, self.refused(execution, error), messages.ERROR)
            return HttpResponseRedirect(self.page_of(execution))
        said = _("Queued as execution #%d: the next free worker runs it.") % again.pk
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(self.page_of(again))

    def requeue_edited_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form of its arguments, and queue it once more with what it holds."""
        return RequeueView(self, request, self.to_be_settled(request, pk)).respond()

    def to_be_settled(self, request: HttpRequest, pk: int) -> Execution:
        """Return the execution, if the user may see it, and say what becomes of it."""
        execution: Execution | None = self.get_object(request, str(pk))
        if execution is None:
            raise Http404
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        if not self.has_run_permission(request, execution):
            raise PermissionDenied
        return execution

    def ask_about(self, request: HttpRequest, execution: Execution, **asked: Any) -> HttpResponse:
        """Ask about one execution, and do what was asked for with the answer."""
        page = self.page_of(execution)
        listed = url(self.admin_site, "execution_changelist")
        trail = [(listed, capfirst(self.opts.verbose_name_plural)), (page, execution)]
        return QuestionPage(self, request, Question(**asked, way_back=page, trail=trail)).respond()

    def cancel_one(self, request: HttpRequest, execution: Execution, reason: str) -> None:
        """Cancel in the user's name, or say why it was too late."""

        def cancel() -> str:
            row = cancel_execution(execution.pk, reason=reason, by=user_of(request))
            self.log_change(request, execution, row.reason)
            return _("Cancelled.") if row.finished else _("Asked to stop.")

        self.settle(request, cancel)

    def resolve_one(self, request: HttpRequest, execution: Execution, reason: str) -> None:
        """Resolve in the user's name, or say why it was too late."""

        def resolve() -> str:
            resolve_execution(execution.pk, reason, by=user_of(request))
            self.log_change(request, execution, _("Resolved: %s") % reason)
            return _("Resolved.")

        self.settle(request, resolve)

    def requeue_one(
        self, request: HttpRequest, execution: Execution, payload: dict[str, Any] | None = None
    ) -> Execution:
        """Requeue in the user's name, with a log entry; raise what stands against it."""
        again = requeue_execution(execution.pk, payload, by=user_of(request))
        self.log_change(request, execution, _("Requeued as #%d.") % again.pk)
        return again

    def settle(self, request: HttpRequest, settle: Callable[[], str]) -> None:
        """Say what was done, or why nothing was."""
        try:
            self.message_user(request, settle(), messages.SUCCESS)
        except ScheduledTasksError as error:
            self.message_user(request, str(error), messages.ERROR)

    def refused(self, execution: Execution, error: ScheduledTasksError) -> str:
        """Say why it was not requeued; where arguments are to blame, where to give others."""
        if not isinstance(error, InvalidPayload):
            return str(error)
        page = url(self.admin_site, "execution_requeue_payload", execution.pk)
        return format_html('{} <a href="{}">{}</a>', error, page, _("Give another payload"))

    def page_of(self, execution: Execution) -> str:
        """Return the address of an execution's page."""
        return url(self.admin_site, "execution_change", execution.pk)


def requeued_as(execution: Execution) -> Execution | None:
    """Return the execution that runs in the place of a failed one, if there is one still."""
    if execution.resolved_at is None:
        return None
    return Execution.objects.filter(requeue_of=execution).only("task_name").first()
