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

from scheduled_tasks.admin.confirmation import (
    CancelForm,
    Confirmation,
    ConfirmationPage,
    ResolveForm,
)
from scheduled_tasks.admin.executions.bulk_actions import cancel_help_text
from scheduled_tasks.admin.executions.requeue_page import RequeuePage
from scheduled_tasks.admin.filters import CauseFilter
from scheduled_tasks.admin.links import url
from scheduled_tasks.admin.payload_page import queued_message
from scheduled_tasks.admin.permissions import RunPermission, user_of
from scheduled_tasks.exceptions import InvalidPayload, ScheduledTasksError
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.executions import (
    cancel_execution,
    requeue_execution,
    resolve_execution,
)
from scheduled_tasks.runtime.sanitizing import redacted_text

#: The method behind each path below the URL of an execution.
VIEWS = {
    "cancel": "cancel_view",
    "requeue": "requeue_view",
    "requeue/payload": "requeue_edited_view",
    "resolve": "resolve_view",
}


class ExecutionButtons(RunPermission):
    """The views behind the buttons. A user who is too late sees the state of the execution."""

    def get_urls(self) -> list[URLPattern]:
        urls = [
            path(
                f"<int:pk>/{action}/",
                self.admin_site.admin_view(getattr(self, view)),
                name=f"scheduled_tasks_execution_{action.replace('/', '_')}",
            )
            for action, view in VIEWS.items()
        ]
        # Before Django's patterns: the last of those matches every path.
        return [*urls, *super().get_urls()]

    def buttons(self, request: HttpRequest, execution: Execution) -> dict[str, str]:
        """Return the URLs of the buttons that apply to an execution and that the user may use."""
        context: dict[str, str] = {}
        if requeued := requeued_as(execution):
            context |= {
                "requeued_as": str(requeued),
                "requeued_as_url": self.change_url(requeued),
            }
        if execution.dead:
            changelist = url(self.admin_site, "execution_changelist")
            cause = CauseFilter.key(execution.error_fingerprint)
            context["same_cause_url"] = f"{changelist}?{CauseFilter.parameter_name}={cause}"
        if self.has_run_permission(request, execution):
            applies = {
                "cancel": execution.may_be_cancelled,
                "requeue": execution.may_be_requeued,
                "requeue_payload": execution.may_be_requeued,
                "resolve": execution.dead,
            }
            for action in (action for action in applies if applies[action]):
                context[f"{action}_url"] = url(self.admin_site, f"execution_{action}", execution.pk)
        return context

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        execution = self.get_execution(request, pk)
        return self.confirm_one(
            request,
            execution,
            title=_("Cancel %s") % execution,
            submit_label=_("Cancel execution"),
            form=CancelForm,
            confirmed=partial(self.cancel_one, request, execution),
            help_text=cancel_help_text(),
        )

    def resolve_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        execution = self.get_execution(request, pk)
        return self.confirm_one(
            request,
            execution,
            title=_("Resolve %s") % execution,
            submit_label=_("Resolve"),
            form=ResolveForm,
            confirmed=partial(self.resolve_one, request, execution),
            help_text=_("It will be marked resolved and not run again."),
        )

    def requeue_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Requeue it with its own payload and redirect to the new execution."""
        execution = self.get_execution(request, pk)
        # There is no confirmation page, so following a link must not requeue.
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        try:
            new = self.requeue_one(request, execution)
        except ScheduledTasksError as error:
            self.message_user(request, self.refusal(execution, error), messages.ERROR)
            return HttpResponseRedirect(self.change_url(execution))
        self.message_user(request, queued_message(new), messages.SUCCESS)
        return HttpResponseRedirect(self.change_url(new))

    def requeue_edited_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show the form for the arguments, and requeue it with what the user has entered."""
        execution = self.get_execution(request, pk)
        requeue = partial(self.requeue_one, request, execution)
        return RequeuePage(self, request, execution, requeue).respond()

    def get_execution(self, request: HttpRequest, pk: int) -> Execution:
        """Return an execution that the user may change. Raise Http404 or PermissionDenied."""
        execution: Execution | None = self.get_object(request, str(pk))
        if execution is None:
            raise Http404
        if not self.has_view_permission(request, execution):
            raise PermissionDenied
        if not self.has_run_permission(request, execution):
            raise PermissionDenied
        return execution

    def confirm_one(
        self, request: HttpRequest, execution: Execution, **options: Any
    ) -> HttpResponse:
        """Return the confirmation page, or act once the user has confirmed."""
        page = self.change_url(execution)
        changelist = url(self.admin_site, "execution_changelist")
        breadcrumbs = [
            (changelist, capfirst(self.opts.verbose_name_plural)),
            (page, execution),
        ]
        confirmation = Confirmation(**options, back_url=page, breadcrumbs=breadcrumbs)
        return ConfirmationPage(self, request, confirmation).respond()

    def cancel_one(self, request: HttpRequest, execution: Execution, reason: str) -> None:
        """Cancel in the user's name, or explain why it was too late."""

        def cancel() -> str:
            row = cancel_execution(execution.pk, reason=reason, by=user_of(request))
            self.log_change(request, execution, row.reason)
            return _("Cancelled.") if row.finished else _("Asked to stop.")

        self.report(request, cancel)

    def resolve_one(self, request: HttpRequest, execution: Execution, reason: str) -> None:
        """Resolve in the user's name, or explain why it was too late."""

        def resolve() -> str:
            resolve_execution(execution.pk, reason, by=user_of(request))
            self.log_change(request, execution, _("Resolved: %s") % redacted_text(reason))
            return _("Resolved.")

        self.report(request, resolve)

    def requeue_one(
        self, request: HttpRequest, execution: Execution, payload: dict[str, Any] | None = None
    ) -> Execution:
        """Requeue in the user's name, with a log entry. Raise ScheduledTasksError if refused."""
        new = requeue_execution(execution.pk, payload, by=user_of(request))
        self.log_change(request, execution, _("Requeued as #%d.") % new.pk)
        return new

    def report(self, request: HttpRequest, change: Callable[[], str]) -> None:
        """Make a change and show its message, or the reason why it was refused."""
        try:
            self.message_user(request, change(), messages.SUCCESS)
        except ScheduledTasksError as error:
            self.message_user(request, str(error), messages.ERROR)

    def refusal(self, execution: Execution, error: ScheduledTasksError) -> str:
        """Return why it was not requeued, with a link if another payload would help."""
        if not isinstance(error, InvalidPayload):
            return str(error)
        page = url(self.admin_site, "execution_requeue_payload", execution.pk)
        return format_html('{} <a href="{}">{}</a>', error, page, _("Change the payload"))

    def change_url(self, execution: Execution) -> str:
        return url(self.admin_site, "execution_change", execution.pk)


def requeued_as(execution: Execution) -> Execution | None:
    """Return the execution that replaces a requeued one, None if there is none."""
    if execution.resolved_at is None:
        return None
    return Execution.objects.filter(requeue_of=execution).only("task_name").first()
