"""The page that requeues a failed execution with another payload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.admin import ModelAdmin
from django.forms import Form
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from scheduled_tasks.admin.payload_page import PayloadPage
from scheduled_tasks.exceptions import TooLate
from scheduled_tasks.models import Execution
from scheduled_tasks.operations.executions import refuse_unless_dead


class RequeuePage(PayloadPage):
    """One request to the page. ``requeue`` is called with the new payload."""

    template = "admin/scheduled_tasks/execution/requeue.html"
    subject_view = "execution_change"

    def __init__(
        self,
        admin: ModelAdmin[Any],
        request: HttpRequest,
        execution: Execution,
        requeue: Callable[[dict[str, Any]], Execution],
    ) -> None:
        super().__init__(admin, request, execution)
        self.execution = execution
        self.requeue = requeue

    def respond(self) -> HttpResponse:
        """Refuse before the user types anything if it can no longer be requeued."""
        try:
            refuse_unless_dead(self.execution)
        except TooLate as error:
            return self.refuse(error)
        return super().respond()

    def hides_secrets(self) -> bool:
        """Mask for everybody: these are the secrets of an earlier run, not of a definition."""
        return True

    def queue(self, payload: dict[str, Any]) -> Execution:
        return self.requeue(payload)

    def show(self, form: Form) -> HttpResponse:
        return self.render(
            form,
            title=_("Requeue %s with another payload") % self.execution,
            submit_label=_("Requeue"),
            back_url=self.back_url(),
            original=self.execution,
            has_view_permission=True,
        )
