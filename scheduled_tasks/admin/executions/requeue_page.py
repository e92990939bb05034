"""The page that requeues a failed execution with another payload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from scheduled_tasks.admin.payload_page import PayloadPage
from scheduled_tasks.exceptions import TooLate
from scheduled_tasks.lifecycle.refusals import why_not_settled
from scheduled_tasks.models import Execution

if TYPE_CHECKING:
    from scheduled_tasks.admin.executions.buttons import ExecutionSettling


class RequeueView(PayloadPage):
    """One request to the page that requeues one execution."""

    template = "admin/scheduled_tasks/execution/requeue.html"
    page_of = "execution_change"
    admin: ExecutionSettling

    def __init__(
        self, admin: ExecutionSettling, request: HttpRequest, execution: Execution
    ) -> None:
        super().__init__(admin, request, execution)
        self.execution = execution

    def respond(self) -> HttpResponse:
        """Refuse what can be requeued no more before anything is typed."""
        if not self.execution.may_be_requeued:
            return self.refuse(TooLate(why_not_settled(self.execution)))
        return super().respond()

    def start(self, payload: dict[str, Any]) -> Execution:
        """Requeue it in the user's name."""
        return self.admin.requeue_one(self.request, self.execution, payload)

    def show(self, form: Form) -> HttpResponse:
        """Show the form, over the payload that failed."""
        return self.page(
            form,
            title=_("Requeue %s with another payload") % self.execution,
            verb=_("Requeue"),
            way_back=self.way_back(),
            original=self.execution,
            has_view_permission=True,
        )
